// The floor: what the kernel has to do for a sandbox, and nothing besides. The steps of a plan as raw system calls, each with the
// fewest that do it, all of their operands known when this is compiled; no survey, no supervision, no messages. PLAN is a header that
// floor.py writes from `palisade plan --format json`: `steps()`, the id maps, the namespaces, the filter, the workload.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/if.h>
#include <linux/mount.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

// Of the kernel's headers, which older distributions have not or in conflict with those of libc.
#ifndef OPEN_TREE_CLONE
#define OPEN_TREE_CLONE 1
#endif
#define TREE_RECURSIVE 0x8000
#define FROM_EMPTY_PATH 0x4
#define ATTR_RDONLY 0x1
#define ATTR_NOSUID 0x2
#define ATTR_NODEV 0x4
#define ATTR_NOEXEC 0x8
#define ATTR_IDMAP 0x100000
struct attributes { uint64_t set, clear, propagation, userns; };
struct landlock_ruleset { uint64_t handled, net, scoped; };
struct landlock_rule { uint64_t allowed; int32_t parent; } __attribute__((packed));

static int must_at(long result, int line) {
    if (result < 0) {
        dprintf(2, "floor.c:%d: %s\n", line, strerror(errno));
        _exit(99);
    }
    return (int)result;
}
#define must(call) must_at((long)(call), __LINE__)

static void put(const char *path, const char *text) {
    int file = must(open(path, O_WRONLY | O_CLOEXEC));
    must(write(file, text, strlen(text)));
    close(file);
}

static void attributes(int at, const char *path, unsigned flags, uint64_t set, uint64_t userns) {
    struct attributes attr = {.set = set, .userns = userns};
    must(syscall(SYS_mount_setattr, at, path, flags, &attr, sizeof attr));
}

static void directory(const char *path, unsigned mode) {
    if (mkdir(path, mode) < 0 && errno != EEXIST) must(-1);
}

static void file(const char *path, unsigned mode, const char *content) {
    if (!*content) {
        must(mknod(path, S_IFREG | mode, 0));
        return;
    }
    int file = must(open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode));
    must(write(file, content, strlen(content)));
    close(file);
}

static void attach(int tree, const char *path) {
    must(syscall(SYS_move_mount, tree, "", AT_FDCWD, path, FROM_EMPTY_PATH));
    close(tree);
}

static void bound(const char *source, const char *path, uint64_t set, unsigned recursive) {
    int tree = must(syscall(SYS_open_tree, AT_FDCWD, source, OPEN_TREE_CLONE | O_CLOEXEC | recursive));
    attributes(tree, "", AT_EMPTY_PATH | recursive, set, 0);
    attach(tree, path);
}

static void mounted(const char *kind, const char *path, unsigned long flags, const char *options) {
    must(syscall(SYS_mount, kind, path, kind, flags, options));
}

// What covers a path: one sealed mount of each kind, of which the others are copies.
static int covers[2] = {-1, -1};
static void mask(const char *path, int is_directory) {
    int *cover = &covers[is_directory];
    if (*cover < 0) {
        const char *name = is_directory ? ".mask-directory" : ".mask-file";
        must(is_directory ? mkdir(name, 0) : mknod(name, S_IFREG, 0));
        *cover = must(syscall(SYS_open_tree, AT_FDCWD, name, OPEN_TREE_CLONE | O_CLOEXEC));
        attributes(*cover, "", AT_EMPTY_PATH, ATTR_RDONLY | ATTR_NOSUID | ATTR_NODEV | ATTR_NOEXEC, 0);
        must(syscall(SYS_move_mount, *cover, "", AT_FDCWD, path, FROM_EMPTY_PATH));
        return;
    }
    attach(must(syscall(SYS_open_tree, *cover, "", OPEN_TREE_CLONE | O_CLOEXEC | AT_EMPTY_PATH)), path);
}
// Nothing of them shows in the root.
static void masked(void) {
    if (covers[0] >= 0) must(unlink(".mask-file"));
    if (covers[1] >= 0) must(rmdir(".mask-directory"));
}

static void pivot(void) {
    must(syscall(SYS_pivot_root, ".", "."));
    must(syscall(SYS_umount2, ".", 2 /* MNT_DETACH */));
}

static void loopback_up(void) {
    int any = must(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    struct ifreq request = {.ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING};
    must(ioctl(any, SIOCSIFFLAGS, &request));
    close(any);
}

static void limit(int resource, uint64_t value) {
    struct rlimit both = {value, value};
    must(setrlimit(resource, &both));
}

static void drop_bounding_set(void) {
    for (unsigned long capability = 0; prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) == 0; capability++) continue;
}

static void drop_capabilities(void) {
    struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct none[2] = {{0}};
    must(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0));
    must(syscall(SYS_capset, &header, none));
}

static int landlock(uint64_t handled, uint64_t scoped, size_t size) {
    struct landlock_ruleset ruleset = {.handled = handled, .scoped = scoped};
    return must(syscall(SYS_landlock_create_ruleset, &ruleset, size, 0));
}
static void landlock_allow(int ruleset, const char *path, uint64_t allowed) {
    struct landlock_rule rule = {allowed, must(open(path, O_PATH | O_CLOEXEC))};
    must(syscall(SYS_landlock_add_rule, ruleset, 1 /* path beneath */, &rule, 0));
    close(rule.parent);
}
static void landlock_restrict(int ruleset) {
    must(syscall(SYS_landlock_restrict_self, ruleset, 0));
    close(ruleset);
}

static void seccomp(const struct sock_filter *filter, size_t length) {
    struct sock_fprog program = {(unsigned short)length, (struct sock_filter *)filter};
    must(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program));
}

// Trees that only the caller can make: with the ids of the sandbox instead of the caller's.
static int idmapped(const char *source, const char *map) {
    int pid = must(syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0));
    if (pid == 0) for (;;) pause();
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/uid_map", pid);
    put(path, map);
    snprintf(path, sizeof path, "/proc/%d/gid_map", pid);
    put(path, map);
    snprintf(path, sizeof path, "/proc/%d/ns/user", pid);
    int userns = must(open(path, O_RDONLY | O_CLOEXEC));
    must(kill(pid, SIGKILL));
    must(waitpid(pid, 0, 0));
    int tree = must(syscall(SYS_open_tree, AT_FDCWD, source, OPEN_TREE_CLONE | O_CLOEXEC | TREE_RECURSIVE));
    attributes(tree, "", AT_EMPTY_PATH | TREE_RECURSIVE, ATTR_IDMAP, (uint64_t)userns);
    close(userns);
    return tree;
}
static void attach_idmapped(int tree, const char *path, uint64_t set) {
    attributes(tree, "", AT_EMPTY_PATH | TREE_RECURSIVE, set, 0);
    attach(tree, path);
}

#include PLAN

int main(void) {
    before();
    int go[2];
    if (!OWN_IDS) must(pipe2(go, O_CLOEXEC));
    int pid = must(syscall(SYS_clone, NAMESPACES | SIGCHLD, 0, 0, 0, 0));
    if (pid == 0) {
        if (OWN_IDS) {
            put("/proc/self/setgroups", "deny");
            put("/proc/self/uid_map", UID_MAP);
            put("/proc/self/gid_map", GID_MAP);
        } else {
            char byte;
            close(go[1]);
            if (must(read(go[0], &byte, 1)) != 1) _exit(99);
        }
        umask(0);
        steps();
        umask(022);
        must(chdir(DIRECTORY));
        execve(WORKLOAD[0], WORKLOAD, ENVIRONMENT);
        must(-1);
    }
    if (!OWN_IDS) {
        char path[64];
        snprintf(path, sizeof path, "/proc/%d/uid_map", pid);
        put(path, UID_MAP);
        snprintf(path, sizeof path, "/proc/%d/gid_map", pid);
        put(path, GID_MAP);
        must(write(go[1], "", 1));
    }
    int status;
    must(waitpid(pid, &status, 0));
    return WIFEXITED(status) ? WEXITSTATUS(status) : 98;
}
