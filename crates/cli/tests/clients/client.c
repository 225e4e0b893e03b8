/* A client that knows no resolver library and no proxy variables: client ADDRESS PORT PATH. Prints the body of the answer, or the
 * errno of the call that failed. Linked statically. */
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int failed(void)
{
    printf("refused %d\n", errno);
    return 1;
}

int main(int argc, char **argv)
{
    struct sockaddr_in v4 = {.sin_family = AF_INET};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6};
    char text[4096];
    size_t length = 0;
    ssize_t got;
    int fd;

    if (argc != 4)
        return 2;
    v4.sin_port = v6.sin6_port = htons(atoi(argv[2]));
    if (inet_pton(AF_INET, argv[1], &v4.sin_addr) == 1) {
        fd = socket(AF_INET, SOCK_STREAM, 0);
        if (connect(fd, (struct sockaddr *)&v4, sizeof v4))
            return failed();
    } else if (inet_pton(AF_INET6, argv[1], &v6.sin6_addr) == 1) {
        fd = socket(AF_INET6, SOCK_STREAM, 0);
        if (connect(fd, (struct sockaddr *)&v6, sizeof v6))
            return failed();
    } else {
        return 2;
    }
    length = snprintf(text, sizeof text, "GET %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", argv[3]);
    if (write(fd, text, length) != (ssize_t)length)
        return failed();
    for (length = 0; (got = read(fd, text + length, sizeof text - 1 - length)) > 0;)
        length += got;
    if (got < 0)
        return failed();
    text[length] = 0;
    char *body = strstr(text, "\r\n\r\n");
    if (!body)
        return 3;
    puts(body + 4);
    return 0;
}
