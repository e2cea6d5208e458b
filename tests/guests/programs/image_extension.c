/* An external extension in C, without any library: registers, and says what it hears. */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

static char data[1 << 16];

static int call(const char *request) {
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(9001)};
    inet_pton(AF_INET, "127.0.0.1", &to.sin_addr);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof to)) exit(3);
    if (write(fd, request, strlen(request)) < 0) exit(4);
    size_t have = 0, want = sizeof data;
    while (have < want) {
        ssize_t got = read(fd, data + have, sizeof data - 1 - have);
        if (got <= 0) exit(5);
        have += got;
        data[have] = 0;
        char *end = strstr(data, "\r\n\r\n"), *size = strcasestr(data, "content-length:");
        if (end && size) want = (end - data) + 4 + atoi(size + 15);
    }
    close(fd);
    return atoi(data + 9);
}

int main(int argc, char **argv) {
    static char request[1024];
    const char *name = strrchr(argv[0], '/') + 1;
    const char body[] = "{\"events\": [\"INVOKE\", \"SHUTDOWN\"]}";
    snprintf(request, sizeof request,
        "POST /2020-01-01/extension/register HTTP/1.1\r\nHost: a\r\nConnection: close\r\n"
        "Lambda-Extension-Name: %s\r\nContent-Length: %zu\r\n\r\n%s",
        name, sizeof body - 1, body);
    if (call(request) != 200) return 6;
    char *id = strcasestr(data, "lambda-extension-identifier: ");
    if (!id) return 7;
    snprintf(request, sizeof request,
        "GET /2020-01-01/extension/event/next HTTP/1.1\r\nHost: a\r\nConnection: close\r\n"
        "Lambda-Extension-Identifier: %.36s\r\n\r\n", id + 29);
    for (;;) {
        if (call(request) != 200) return 8;
        int is_end = strstr(data, "SHUTDOWN") != 0;
        printf("%s: %s\n", name, is_end ? "SHUTDOWN" : "INVOKE");
        fflush(stdout);
        if (is_end) return 0;
    }
}
