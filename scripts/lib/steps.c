/* Runs a program one instruction at a time, with all that it forks until that executes something else, and writes where in its image
 * each instruction stood that was executed: offsets from where the image begins, in the order of their first use, in hexadecimal.
 *
 * usage: steps FILE PROGRAM [ARGUMENT...] */
#define _GNU_SOURCE
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MOST = 1 << 26 };

static unsigned char seen[MOST];
static unsigned long begin, end;

/* Where the image of the program lies: its file is the only one that is mapped when it has just been executed, since it needs no
 * loader. */
static void find_image(pid_t pid) {
    char path[64], line[512];
    snprintf(path, sizeof path, "/proc/%d/maps", pid);
    FILE *maps = fopen(path, "r");
    if (!maps) exit(1);
    while (fgets(line, sizeof line, maps)) {
        unsigned long from, to;
        if (sscanf(line, "%lx-%lx %*s %*s %*s %*s /", &from, &to) != 2 || !strchr(line, '/')) continue;
        if (!begin) begin = from;
        end = to;
    }
    fclose(maps);
}

int main(int count, char **words) {
    if (count < 3) return 2;
    FILE *out = fopen(words[1], "w");
    if (!out) return 1;
    pid_t first = fork();
    if (first == 0) {
        ptrace(PTRACE_TRACEME, 0, 0, 0);
        raise(SIGSTOP);
        execv(words[2], words + 2);
        _exit(127);
    }
    int status;
    waitpid(first, &status, 0);
    ptrace(PTRACE_SETOPTIONS, first, 0,
           PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK | PTRACE_O_TRACECLONE | PTRACE_O_TRACEEXEC | PTRACE_O_EXITKILL);
    ptrace(PTRACE_CONT, first, 0, 0);
    int code = 1;
    pid_t pid;
    while ((pid = waitpid(-1, &status, __WALL)) > 0) {
        if (pid == first && WIFEXITED(status)) code = WEXITSTATUS(status);
        if (!WIFSTOPPED(status)) continue;
        int stop = WSTOPSIG(status), event = status >> 16;
        if (event == PTRACE_EVENT_EXEC) {
            if (begin) {
                ptrace(PTRACE_DETACH, pid, 0, 0);
                continue;
            }
            find_image(pid);
        }
        /* The first stop of a process, and every step, is the tracer's; any other signal is the program's own. */
        int ours = event || stop == SIGTRAP || stop == SIGSTOP;
        struct user_regs_struct registers;
        if (begin && ours && ptrace(PTRACE_GETREGS, pid, 0, &registers) == 0) {
            unsigned long at = registers.rip - begin;
            if (registers.rip >= begin && registers.rip < end && at < MOST && !seen[at]) {
                seen[at] = 1;
                fprintf(out, "%lx\n", at);
            }
        }
        ptrace(PTRACE_SINGLESTEP, pid, 0, ours ? 0 : stop);
    }
    return fclose(out) ? 1 : code;
}
