/* An external extension in C, without any library: registers, and says what it hears. */
#include "runtime_api.h"

int main(int argc, char **argv) {
    static char request[1024];
    const char *name = strrchr(argv[0], '/') + 1;
    const char body[] = "{\"events\": [\"INVOKE\", \"SHUTDOWN\"]}";
    snprintf(request, sizeof request,
        "POST /2020-01-01/extension/register HTTP/1.1\r\nHost: a\r\nConnection: close\r\n"
        "Lambda-Extension-Name: %s\r\nContent-Length: %zu\r\n\r\n%s",
        name, sizeof body - 1, body);
    if (call(request, strlen(request)) != 200) return 6;
    char *id = strcasestr(data, "lambda-extension-identifier: ");
    if (!id) return 7;
    snprintf(request, sizeof request,
        "GET /2020-01-01/extension/event/next HTTP/1.1\r\nHost: a\r\nConnection: close\r\n"
        "Lambda-Extension-Identifier: %.36s\r\n\r\n", id + 29);
    for (;;) {
        if (call(request, strlen(request)) != 200) return 8;
        int is_end = strstr(data, "SHUTDOWN") != 0;
        printf("%s: %s\n", name, is_end ? "SHUTDOWN" : "INVOKE");
        fflush(stdout);
        if (is_end) return 0;
    }
}
