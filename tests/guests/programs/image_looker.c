/* A runtime in C, without any library: says what is at the path in its event. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

static char data[1 << 16];

static int call(const char *request, size_t length) {
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(9001)};
    inet_pton(AF_INET, "127.0.0.1", &to.sin_addr);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof to) || write(fd, request, length) < 0)
        exit(3);
    size_t have = 0, want = sizeof data;
    while (have < want) {
        ssize_t got = read(fd, data + have, sizeof data - 1 - have);
        if (got <= 0) exit(4);
        have += got;
        data[have] = 0;
        char *end = strstr(data, "\r\n\r\n"), *size = strcasestr(data, "content-length:");
        if (end && size) want = (end - data) + 4 + atoi(size + 15);
    }
    close(fd);
    return atoi(data + 9);
}

static char seen[1 << 15];

static void add(const char *text) {
    strncat(seen, text, sizeof seen - strlen(seen) - 1);
}

static void look(const char *path, int argc, char **argv) {
    seen[0] = 0;
    if (!strcmp(path, "argv")) {
        for (int i = 0; i < argc; i++) {
            if (i) add(" ");
            add(argv[i]);
        }
    } else if (path[0] == '$') {
        add(getenv(path + 1) ? getenv(path + 1) : "");
    } else if (path[0] == '+') {
        int fd = open(path + 1, O_WRONLY | O_CREAT | O_EXCL, 0600);
        add(fd < 0 ? strerror(errno) : "made");
    } else {
        DIR *folder = opendir(path);
        if (folder) {
            for (struct dirent *one; (one = readdir(folder));) {
                if (!strcmp(one->d_name, ".") || !strcmp(one->d_name, "..")) continue;
                if (seen[0]) add(" ");
                add(one->d_name);
            }
            closedir(folder);
        } else if (errno == ENOTDIR) {
            int fd = open(path, O_RDONLY);
            ssize_t got = read(fd, seen, sizeof seen - 1);
            seen[got < 0 ? 0 : got] = 0;
        } else {
            add(strerror(errno));
        }
    }
    for (char *c = seen; *c; c++)
        if (*c < ' ' || *c == '"' || *c == '\\') *c = ' ';
}

int main(int argc, char **argv) {
    static const char next[] =
        "GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    static char request[1 << 17], path[4096];
    for (;;) {
        if (call(next, sizeof next - 1) != 200) return 5;
        char *id = strcasestr(data, "lambda-runtime-aws-request-id: ") + 31;
        char *asked = strstr(strstr(data, "\r\n\r\n"), "\"do\"");
        sscanf(strchr(asked + 4, '"') + 1, "%4095[^\"]", path);
        look(path, argc, argv);
        int length = snprintf(request, sizeof request,
            "POST /2018-06-01/runtime/invocation/%.36s/response HTTP/1.1\r\nHost: a\r\n"
            "Connection: close\r\nContent-Length: %zu\r\n\r\n{\"seen\": \"%s\"}",
            id, strlen(seen) + 12, seen);
        if (call(request, length) != 202) return 6;
    }
}
