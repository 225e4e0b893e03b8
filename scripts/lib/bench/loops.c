// Loops of one system call: loops getpid|open COUNT [FILE]. Prints nanoseconds of one turn.
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

int main(int argc, char **argv) {
    if (argc < 3) return 2;
    long count = atol(argv[2]);
    struct timespec begun, ended;
    clock_gettime(CLOCK_MONOTONIC, &begun);
    if (strcmp(argv[1], "getpid") == 0) {
        for (long i = 0; i < count; i++) syscall(SYS_getpid);
    } else {
        for (long i = 0; i < count; i++) {
            int file = open(argv[3], O_RDONLY | O_CLOEXEC);
            if (file < 0) return 3;
            close(file);
        }
    }
    clock_gettime(CLOCK_MONOTONIC, &ended);
    printf("%f\n", ((ended.tv_sec - begun.tv_sec) * 1e9 + (ended.tv_nsec - begun.tv_nsec)) / count);
    return 0;
}
