// Times whole processes: from the start to the end of a command, as its caller sees both.
//
// spawn TABLE, where TABLE has for each subject: NUL-ended words, a directory, then the number of words of the environment and the
// words, then the number of words of the command and the words. Reads requests, one a line, and answers each with one line:
//   SUBJECT              -> nanoseconds of one run, and its wait status
//   SUBJECT COUNT WORKERS -> nanoseconds of COUNT runs with at most WORKERS at a time, and how many of them failed
// The command has /dev/null for its standard streams. It is started by vfork(2), so that the size of this process does not count.
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

struct subject { char *directory, **environment, **command; };

static struct subject *subjects;
static int count;

static char **words(char **next) {
    int many = atoi(*next);
    *next += strlen(*next) + 1;
    char **list = calloc(many + 1, sizeof *list);
    for (int i = 0; i < many; i++, *next += strlen(*next) + 1) list[i] = *next;
    return list;
}

static void load(const char *path) {
    FILE *file = fopen(path, "r");
    if (!file) exit(2);
    char *text = malloc(1 << 24);
    char *end = text + fread(text, 1, (1 << 24) - 1, file);
    fclose(file);
    subjects = calloc(4096, sizeof *subjects);
    for (char *next = text; next < end && count < 4096; count++) {
        subjects[count].directory = next;
        next += strlen(next) + 1;
        subjects[count].environment = words(&next);
        subjects[count].command = words(&next);
    }
}

static int64_t now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1000000000LL + time.tv_nsec;
}

static pid_t start(const struct subject *subject, int null) {
    pid_t pid = vfork();
    if (pid == 0) {
        dup2(null, 0);
        dup2(null, 1);
        dup2(null, 2);
        if (chdir(subject->directory) == 0) execvpe(subject->command[0], subject->command, subject->environment);
        _exit(127);
    }
    if (pid < 0) exit(3);
    return pid;
}

int main(int argc, char **argv) {
    if (argc != 2) return 2;
    load(argv[1]);
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    char line[128];
    while (fgets(line, sizeof line, stdin)) {
        int which = 0, runs = 1, workers = 1, status = 0, failed = 0, running = 0;
        int given = sscanf(line, "%d %d %d", &which, &runs, &workers);
        if (given < 1 || which < 0 || which >= count) return 2;
        int64_t begun = now();
        for (int left = runs; left > 0 || running > 0;) {
            if (left > 0 && running < workers) {
                start(&subjects[which], null);
                left--, running++;
                continue;
            }
            if (wait(&status) < 0) return 3;
            running--;
            failed += status != 0;
        }
        printf("%lld %d\n", (long long)(now() - begun), given == 1 ? status : failed);
        fflush(stdout);
    }
    return 0;
}
