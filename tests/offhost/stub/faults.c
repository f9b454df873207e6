/* What a sweep makes fail beside hypercalls and paths: descriptors, threads, processes, memory. */
#include "faults.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <limits.h>
#include <spawn.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

bool toolstack, begun;

bool fault(enum kind kind, const char *what)
{
    if (!toolstack || !world || !(__atomic_load_n(&world->sweep.kinds, __ATOMIC_RELAXED) & kind))
        return false;
    if ((kind == ALLOCATIONS || world->sweep.how == DIE || world->sweep.how == STOP) && !begun)
        return false;
    if (__atomic_add_fetch(&world->sweep.count, 1, __ATOMIC_SEQ_CST) != world->sweep.nth)
        return false;
    __atomic_add_fetch(&world->sweep.hits, 1, __ATOMIC_SEQ_CST);
    world->sweep.pid = getpid();
    if (what)
        strncpy(world->sweep.what, what, sizeof world->sweep.what - 1);
    if (world->sweep.how == DIE)
        kill(getpid(), SIGKILL);
    if (world->sweep.how == STOP) {
        kill(getpid(), SIGSTOP);
        return false;
    }
    return true;
}

bool denied(const char *what)
{
    if (!fault(RESOURCES, what))
        return false;
    errno = world->sweep.error;
    return true;
}

bool is_of_the_stub(const char *below)
{
    return !strcmp(below, "/memory") || !strcmp(below, "/state") || !strncmp(below, "/events/", 8);
}

bool file_fails(int fd, const char *what)
{
    char link[48], path[PATH_MAX];
    struct stat status;

    if (!toolstack || !world || !(__atomic_load_n(&world->sweep.kinds, __ATOMIC_RELAXED) & FILES))
        return false;
    if (fstat(fd, &status) || !S_ISREG(status.st_mode))
        return false;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0)
        return false;
    path[length] = 0;
    const char *root = world_root(), *below = path + strlen(root);
    if (strncmp(path, root, strlen(root)) || is_of_the_stub(below) || !fault(FILES, NULL))
        return false;
    snprintf(world->sweep.what, sizeof world->sweep.what, "%s %.40s", what, below);
    errno = world->sweep.error;
    return true;
}

#define REAL(name)                 \
    static __typeof__(&name) real; \
    if (!real)                     \
    real = (__typeof__(real))dlsym(RTLD_NEXT, #name)

#define LIMITED(name, parameters, ...)               \
    EXPORT int name parameters                       \
    {                                                \
        REAL(name);                                  \
        return denied(#name) ? -1 : real(__VA_ARGS__); \
    }

LIMITED(pipe, (int ends[2]), ends)
LIMITED(socket, (int domain, int type, int protocol), domain, type, protocol)
LIMITED(socketpair, (int domain, int type, int protocol, int ends[2]), domain, type, protocol, ends)
LIMITED(eventfd, (unsigned count, int flags), count, flags)
LIMITED(dup, (int fd), fd)

EXPORT int pipe2(int ends[2], int flags)
{
    REAL(pipe2);
    Dl_info caller;

    /* libxl aborts its process if libxenstore gets no pipe, so pyxen gets one just before, and gives it back. What
     * could happen between these two is not tried. */
    if (dladdr(__builtin_return_address(0), &caller) && strstr(caller.dli_fname, "libxenstore"))
        return real(ends, flags);
    return denied("pipe2") ? -1 : real(ends, flags);
}

EXPORT pid_t fork(void)
{
    REAL(fork);
    return denied("fork") ? -1 : real();
}

#define WITH_FILE(type, name, parameters, ...)                          \
    EXPORT type name parameters                                         \
    {                                                                   \
        REAL(name);                                                     \
        return file_fails(fd, #name) ? (type)-1 : real(fd, __VA_ARGS__); \
    }

WITH_FILE(ssize_t, pwrite, (int fd, const void *data, size_t size, off_t at), data, size, at)
WITH_FILE(ssize_t, pread, (int fd, void *data, size_t size, off_t at), data, size, at)
WITH_FILE(int, ftruncate, (int fd, off_t size), size)
WITH_FILE(int, flock, (int fd, int what), what)

EXPORT int fsync(int fd)
{
    REAL(fsync);
    return file_fails(fd, "fsync") ? -1 : real(fd);
}

/* These two return the error. */

EXPORT int posix_spawn(pid_t *pid, const char *path, const posix_spawn_file_actions_t *actions,
                       const posix_spawnattr_t *attributes, char *const *arguments, char *const *environment)
{
    REAL(posix_spawn);
    return denied("posix_spawn") ? EAGAIN : real(pid, path, actions, attributes, arguments, environment);
}

EXPORT int pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*start)(void *), void *argument)
{
    REAL(pthread_create);
    return denied("pthread_create") ? EAGAIN : real(thread, attributes, start, argument);
}

/* Memory. The C library's own names are there for whoever stands in for these, and need no dlsym, which allocates. */

extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t count, size_t size);
extern void *__libc_realloc(void *old, size_t size);

static bool exhausted(void)
{
    if (!fault(ALLOCATIONS, "malloc"))
        return false;
    errno = ENOMEM;
    return true;
}

EXPORT void *malloc(size_t size)
{
    return exhausted() ? NULL : __libc_malloc(size);
}

EXPORT void *calloc(size_t count, size_t size)
{
    return exhausted() ? NULL : __libc_calloc(count, size);
}

EXPORT void *realloc(void *old, size_t size)
{
    return exhausted() ? NULL : __libc_realloc(old, size);
}
