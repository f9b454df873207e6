/*
 * Files of Xen's, and pyxen's own, are those below the root of the pretended host: devices, /proc/xen, what libxl and xenstored keep, what libxl runs.
 *
 * Each function of the C library that takes a path has a stand-in here, which changes it where it is Xen's.
 */
#include "world.h"

#include <dirent.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <glob.h>
#include <limits.h>
#include <stdarg.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "devices.h"

static const char *const of_xen[] = {
    "/dev/xen",       "/proc/xen",        "/sys/hypervisor",     "/etc/xen",         "/var/lib/xen",
    "/var/lib/xenstored", "/var/log/xen", "/var/run/xen",        "/var/run/xenstored", "/run/xen",
    "/run/xenstored", "/run/pyxen",
};

/* What each release has for itself: hvmloader, and programs that libxl runs. */
static const char of_release[] = "/usr/lib/xen-";

/* Returns the path to use: `path` itself, or one in `room`, which has PATH_MAX bytes. */
static const char *redirected(const char *path, char *room)
{
    const char *root = world_root();

    if (!path || path[0] != '/' || !root)
        return path;
    if (!strncmp(path, of_release, sizeof of_release - 1) && snprintf(room, PATH_MAX, "%s/root%s", root, path) < PATH_MAX)
        return room;
    for (size_t i = 0; i < sizeof of_xen / sizeof *of_xen; i++) {
        size_t length = strlen(of_xen[i]);
        if (!strncmp(path, of_xen[i], length) && (path[length] == '/' || !path[length])) {
            const char *rest = strncmp(path, "/var/run/", 9) ? path : path + 4;
            if (snprintf(room, PATH_MAX, "%s/root%s", root, rest) < PATH_MAX)
                return room;
        }
    }
    return path;
}

/* Whether a sweep makes this call fail: it is about a file of the host's. */
static bool refused(const char *name, const char *path)
{
    const char *root = world_root();

    if (!root || !path || strncmp(path, root, strlen(root)))
        return false;
    const char *below = path + strlen(root);
    if (is_of_the_stub(below) || !fault(FILES, NULL))
        return false;
    snprintf(world->sweep.what, sizeof world->sweep.what, "%s %s", name, below);
    errno = world->sweep.error;
    return true;
}

#define REAL(name)                                        \
    static __typeof__(&name) real;                        \
    if (!real)                                            \
        real = (__typeof__(real))dlsym(RTLD_NEXT, #name); \
    char room[PATH_MAX];                                  \
    (void)room

/* What a function of this type returns when it fails. */
#define FAILED(type) _Generic((type)0, FILE *: 0, DIR *: 0, char *: 0, default: -1)

#define WITH_PATH(type, name, path_is, parameters, ...) \
    EXPORT type name parameters                         \
    {                                                   \
        REAL(name);                                     \
        path_is = redirected(path_is, room);            \
        if (refused(#name, path_is))                    \
            return (type)(intptr_t)(FAILED(type));      \
        return real(__VA_ARGS__);                       \
    }

WITH_PATH(FILE *, fopen, path, (const char *path, const char *mode), path, mode)
WITH_PATH(FILE *, fopen64, path, (const char *path, const char *mode), path, mode)
WITH_PATH(int, stat, path, (const char *path, struct stat *status), path, status)
WITH_PATH(int, stat64, path, (const char *path, struct stat64 *status), path, status)
WITH_PATH(int, lstat, path, (const char *path, struct stat *status), path, status)
WITH_PATH(int, lstat64, path, (const char *path, struct stat64 *status), path, status)
WITH_PATH(int, fstatat, path, (int at, const char *path, struct stat *status, int flags), at, path, status, flags)
WITH_PATH(int, fstatat64, path, (int at, const char *path, struct stat64 *status, int flags), at, path, status, flags)
WITH_PATH(int, access, path, (const char *path, int mode), path, mode)
WITH_PATH(int, faccessat, path, (int at, const char *path, int mode, int flags), at, path, mode, flags)
WITH_PATH(int, mkdir, path, (const char *path, mode_t mode), path, mode)
WITH_PATH(int, mkdirat, path, (int at, const char *path, mode_t mode), at, path, mode)
WITH_PATH(int, rmdir, path, (const char *path), path)
WITH_PATH(int, unlink, path, (const char *path), path)
WITH_PATH(int, unlinkat, path, (int at, const char *path, int flags), at, path, flags)
WITH_PATH(int, chmod, path, (const char *path, mode_t mode), path, mode)
WITH_PATH(int, chown, path, (const char *path, uid_t uid, gid_t gid), path, uid, gid)
WITH_PATH(int, chdir, path, (const char *path), path)
WITH_PATH(int, truncate, path, (const char *path, off_t length), path, length)
WITH_PATH(int, mknod, path, (const char *path, mode_t mode, dev_t device), path, mode, device)
WITH_PATH(ssize_t, readlink, path, (const char *path, char *target, size_t size), path, target, size)
WITH_PATH(char *, realpath, path, (const char *path, char *target), path, target)
WITH_PATH(int, symlink, path, (const char *target, const char *path), target, path)
WITH_PATH(DIR *, opendir, path, (const char *path), path)
WITH_PATH(int, glob, path, (const char *path, int flags, int (*report)(const char *, int), glob_t *found), path, flags,
          report, found)
WITH_PATH(int, glob64, path, (const char *path, int flags, int (*report)(const char *, int), glob64_t *found), path,
          flags, report, found)
WITH_PATH(int, execv, path, (const char *path, char *const *arguments), path, arguments)
WITH_PATH(int, execvp, path, (const char *path, char *const *arguments), path, arguments)
WITH_PATH(int, execve, path, (const char *path, char *const *arguments, char *const *environment), path, arguments,
          environment)

#define WITH_TWO_PATHS(name, from, to, parameters, ...) \
    EXPORT int name parameters                          \
    {                                                   \
        REAL(name);                                     \
        char room2[PATH_MAX];                           \
        from = redirected(from, room);                  \
        to = redirected(to, room2);                     \
        if (refused(#name, to))                         \
            return -1;                                  \
        return real(__VA_ARGS__);                       \
    }

WITH_TWO_PATHS(rename, from, to, (const char *from, const char *to), from, to)
WITH_TWO_PATHS(renameat, from, to, (int at, const char *from, int to_at, const char *to), at, from, to_at, to)
WITH_TWO_PATHS(link, from, to, (const char *from, const char *to), from, to)

static int opened(const char *path, int fd)
{
    if (fd >= 0 && path && !strcmp(path, "/dev/xen/evtchn"))
        return events_opened(fd);
    return fd;
}

#define OPEN(name, parameters, before, ...)                 \
    EXPORT int name parameters                              \
    {                                                       \
        REAL(name);                                         \
        mode_t mode = 0;                                    \
        if (flags & (O_CREAT | O_TMPFILE)) {                \
            va_list more;                                   \
            va_start(more, flags);                          \
            mode = va_arg(more, mode_t);                    \
            va_end(more);                                   \
        }                                                   \
        const char *there = redirected(path, room);         \
        if (refused(#name, there))                          \
            return -1;                                      \
        return opened(path, real(before there, flags, mode)); \
    }

#define NOTHING
#define AT at,
OPEN(open, (const char *path, int flags, ...), NOTHING)
OPEN(open64, (const char *path, int flags, ...), NOTHING)
OPEN(openat, (int at, const char *path, int flags, ...), AT)
OPEN(openat64, (int at, const char *path, int flags, ...), AT)

/* What the compiler makes of open without a mode, with _FORTIFY_SOURCE. */
EXPORT int __open_2(const char *path, int flags)
{
    return open(path, flags);
}

EXPORT int __open64_2(const char *path, int flags)
{
    return open64(path, flags);
}

static socklen_t address(const struct sockaddr *given, socklen_t length, struct sockaddr_un *changed)
{
    const struct sockaddr_un *unix_address = (const void *)given;
    char path[sizeof unix_address->sun_path + 1] = "", room[PATH_MAX];

    if (length <= sizeof unix_address->sun_family || unix_address->sun_family != AF_UNIX || !unix_address->sun_path[0])
        return 0;
    memcpy(path, unix_address->sun_path, length - sizeof unix_address->sun_family);
    const char *there = redirected(path, room);
    if (there == path || strlen(there) >= sizeof changed->sun_path)
        return 0;
    changed->sun_family = AF_UNIX;
    strcpy(changed->sun_path, there);
    return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(there) + 1);
}

EXPORT int connect(int fd, const struct sockaddr *given, socklen_t length)
{
    REAL(connect);
    struct sockaddr_un changed;
    socklen_t changed_length = address(given, length, &changed);

    if (!changed_length)
        return real(fd, given, length);
    if (strstr(changed.sun_path, "/run/xenstored/")) {
        int error = count_now(XENSTORE, CONNECT, -1);
        if (refused("connect", changed.sun_path))
            return -1;
        if (error) {
            errno = error;
            return -1;
        }
        int status = real(fd, (void *)&changed, changed_length);
        if (!status)
            xenstore_connected(fd);
        return status;
    }
    return real(fd, (void *)&changed, changed_length);
}

EXPORT int bind(int fd, const struct sockaddr *given, socklen_t length)
{
    REAL(bind);
    struct sockaddr_un changed;
    socklen_t changed_length = address(given, length, &changed);

    return changed_length ? real(fd, (void *)&changed, changed_length) : real(fd, given, length);
}
