/* Waiting for libxl. It is in C since it goes around several times for each operation, right after libxl has forked:
 * Python would touch, and make the kernel copy, a hundred pages each time. */

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <libxl_event.h>
#include <libxl_utils.h>

#include "loop.h"
#include "watches.h"

#ifndef __GLIBC__
/* Other C libraries, as musl, have nothing to trim. */
#define malloc_trim(pad) ((void)(pad))
#endif

#ifndef W_EXITCODE
/* What a wait tells, put together as Linux does; glibc has it. */
#define W_EXITCODE(status, number) ((status) << 8 | (number))
#define WCOREFLAG 0x80
#endif

#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434
#endif
#define P_PIDFD 3 /* an enumerator in newer C libraries, unknown to older ones */

#define WITHOUT_PIDFD 50 /* ms between looks at children; kernels before 5.3 */

struct child {
    pid_t pid;
    int pidfd; /* -1 where the kernel has none */
    int none;  /* there is no such process */
};

#define SHELTERED 64

struct shelter {
    int fd, file, size;
    int over;  /* fd leads to the file */
    int error; /* with which writing to it has failed */
};

struct pyxen_loop {
    pid_t pid; /* the process that the context belongs to */
    int wake;
    xentoollog_logger *logger;
    pid_t none; /* the last number given to a child that could not be started */
    struct child *children; /* under the lock */
    int nchildren, room;
    struct shelter *shelters;
    int nshelters;
    struct pollfd *watched; /* descriptors of others, and what they wait for; at the end of `fds` when polled */
    int nwatched;
    struct pollfd *fds;
    int nfds;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static unsigned long holder; /* the thread that has the lock, by pthread_self; 0 for none */
static int64_t taken_at;     /* when it took the lock, in ms */

static int64_t milliseconds(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * (int64_t)1000 + now.tv_nsec / 1000000;
}

void pyxen_lock(void)
{
    pthread_mutex_lock(&lock);
    __atomic_store_n(&taken_at, milliseconds(), __ATOMIC_RELAXED);
    __atomic_store_n(&holder, (unsigned long)pthread_self(), __ATOMIC_RELEASE);
}

void pyxen_unlock(void)
{
    __atomic_store_n(&holder, 0, __ATOMIC_RELEASE);
    pthread_mutex_unlock(&lock);
}

int64_t pyxen_lock_held(unsigned long thread)
{
    if (__atomic_load_n(&holder, __ATOMIC_ACQUIRE) != thread)
        return -1;
    return milliseconds() - __atomic_load_n(&taken_at, __ATOMIC_RELAXED);
}

int pyxen_locked(void)
{
    if (pthread_mutex_trylock(&lock))
        return 1;
    pthread_mutex_unlock(&lock);
    return 0;
}

/* libxl gets a pipe with its first watch, and aborts the process if there is none: get it now, when we can say so. */
static int prepare_watches(libxl_ctx *ctx)
{
    libxl_evgen_domain_death *watch = NULL;
    int ends[2];

    if (pipe2(ends, O_CLOEXEC))
        return -1;
    close(ends[0]);
    close(ends[1]);
    if (!libxl_evenable_domain_death(ctx, 0, 0, &watch))
        libxl_evdisable_domain_death(ctx, watch);
    return 0;
}

int pyxen_ctx_alloc(libxl_ctx **ctx, xentoollog_logger *logger)
{
    int code;

    /* libxl forks for each destroy, and pays for every page that we have: give back what Python's modules have left. */
    malloc_trim(0);
    pyxen_lock();
    code = libxl_ctx_alloc(ctx, LIBXL_VERSION, 0, logger);
    if (!code && prepare_watches(*ctx)) {
        libxl_ctx_free(*ctx);
        *ctx = NULL;
        code = ERROR_NOMEM;
    }
    pyxen_unlock();
    return code;
}

void pyxen_ctx_free(libxl_ctx *ctx)
{
    pyxen_lock();
    libxl_ctx_free(ctx);
    pyxen_unlock();
}

int pyxen_ctx_is_cut_off(libxl_ctx *ctx)
{
    char *name;
    int reason;

    errno = 0;
    name = libxl_domid_to_name(ctx, 0);
    reason = errno;
    free(name);
    /* Any other reason is xenstored's answer. libxenstore closes the connection when a request cannot be sent (EBADF
     * from then on), and says EINVAL when the thread that reads it has ended. */
    return !name && (reason == EBADF || reason == EPIPE || reason == ECONNRESET || reason == EINVAL || reason == EIO);
}

struct pyxen_loop *pyxen_loop_new(int wake, xentoollog_logger *logger)
{
    struct pyxen_loop *loop = calloc(1, sizeof *loop);

    if (!loop)
        return NULL;
    loop->pid = getpid();
    loop->wake = wake;
    loop->logger = logger;
    return loop;
}

void pyxen_loop_free(struct pyxen_loop *loop)
{
    for (int i = 0; i < loop->nchildren; i++)
        if (loop->children[i].pidfd >= 0)
            close(loop->children[i].pidfd);
    free(loop->children);
    free(loop->shelters);
    free(loop->watched);
    free(loop->fds);
    free(loop);
}

int pyxen_loop_watch(struct pyxen_loop *loop, int fd, int events)
{
    int i = 0;
    struct pollfd *grown;

    while (i < loop->nwatched && loop->watched[i].fd != fd)
        i++;
    if (!events) {
        if (i < loop->nwatched)
            loop->watched[i] = loop->watched[--loop->nwatched];
        return 0;
    }
    if (i == loop->nwatched) {
        grown = realloc(loop->watched, (i + 1) * sizeof *grown);
        if (!grown)
            return -ENOMEM;
        loop->watched = grown;
        loop->nwatched++;
    }
    loop->watched[i] = (struct pollfd){ .fd = fd, .events = events };
    return 0;
}

int pyxen_loop_shelter(struct pyxen_loop *loop, int fd, int file, int size)
{
    struct shelter *grown = realloc(loop->shelters, (loop->nshelters + 1) * sizeof *grown);

    if (!grown)
        return -ENOMEM;
    loop->shelters = grown;
    loop->shelters[loop->nshelters++] = (struct shelter){ .fd = fd, .file = file, .size = size };
    return 0;
}

int pyxen_loop_end_shelter(struct pyxen_loop *loop, int fd)
{
    int error = 0;

    for (int i = 0; i < loop->nshelters; i++)
        if (loop->shelters[i].fd == fd) {
            error = loop->shelters[i].error;
            loop->shelters[i] = loop->shelters[--loop->nshelters];
            break;
        }
    return -error;
}

/* Returns 0, or the error. */
static int copy_beginning(const struct shelter *shelter)
{
    char data[SHELTERED];
    ssize_t done;

    if (pread(shelter->fd, data, shelter->size, 0) != shelter->size)
        return EIO;
    for (int at = 0; at < shelter->size; at += done) {
        done = write(shelter->file, data + at, shelter->size - at);
        if (done <= 0)
            return done < 0 ? errno : EIO;
    }
    return 0;
}

static void leave_shelters(struct pyxen_loop *loop)
{
    for (int i = 0; i < loop->nshelters; i++) {
        struct shelter *shelter = &loop->shelters[i];

        if (shelter->over || lseek(shelter->fd, 0, SEEK_CUR) != shelter->size)
            continue;
        shelter->error = copy_beginning(shelter);
        if (dup3(shelter->file, shelter->fd, O_CLOEXEC) < 0 && !shelter->error)
            shelter->error = errno;
        shelter->over = 1;
    }
}

/* More than any pid: the kernel has none above 2^22. */
#define NO_PID 0x7f000000
#define NO_PID_COUNT 0xffffff

/* When libxl cannot fork, some of its functions abort the process (libxl_aoutils.c leaves the timer of a script on). So
 * it is told of a child that fails at once. */
pid_t pyxen_fork(void *user)
{
    struct pyxen_loop *loop = user;
    struct child child = { .pidfd = -1 };
    int saved;

    /* libxl's children fork in turn, to start a device model: those are theirs. */
    if (getpid() != loop->pid)
        return fork();
    if (loop->nchildren == loop->room) {
        int room = loop->room ? 2 * loop->room : 4;
        struct child *grown = realloc(loop->children, room * sizeof *grown);

        if (!grown)
            return -1;
        loop->children = grown;
        loop->room = room;
    }
    leave_shelters(loop);
    child.pid = fork();
    if (!child.pid)
        return 0;
    saved = errno;
    if (child.pid < 0) {
        xtl_log(loop->logger, XTL_ERROR, saved, "pyxen", "cannot start a process");
        child.pid = NO_PID + loop->none++ % NO_PID_COUNT;
        child.none = 1;
    } else {
        child.pidfd = syscall(SYS_pidfd_open, child.pid, 0);
        /* Whoever waits for any child may have taken it by now, and the pid may be another's. */
        if (child.pidfd >= 0
            && waitid((idtype_t)P_PIDFD, child.pidfd, &(siginfo_t){ 0 }, WEXITED | WNOHANG | WNOWAIT)) {
            close(child.pidfd);
            child.pidfd = -1;
        }
    }
    loop->children[loop->nchildren++] = child;
    errno = saved;
    return child.pid;
}

int pyxen_loop_children(const struct pyxen_loop *loop)
{
    return loop->nchildren;
}

/* What is said of a child whose status nobody knows: it has failed. */
#define UNKNOWN W_EXITCODE(255, 0)

static int status_of(const siginfo_t *info)
{
    if (info->si_code == CLD_EXITED)
        return W_EXITCODE(info->si_status & 0xff, 0);
    return W_EXITCODE(0, info->si_status) | (info->si_code == CLD_DUMPED ? WCOREFLAG : 0);
}

/* Returns whether a child has ended, with its status. An application that waits for any child, or ignores SIGCHLD,
 * takes the status away; by its pidfd, no other child is ever taken for it. */
static int has_ended(const struct child *child, int *status)
{
    siginfo_t info = { .si_pid = 0 };
    idtype_t kind = child->pidfd >= 0 ? (idtype_t)P_PIDFD : P_PID;

    if (child->none) {
        *status = UNKNOWN;
        return 1;
    }
    if (waitid(kind, child->pidfd >= 0 ? child->pidfd : child->pid, &info, WEXITED | WNOHANG) == 0) {
        if (info.si_pid == 0)
            return 0;
        *status = status_of(&info);
        return 1;
    }
    *status = UNKNOWN;
    return errno != EINTR;
}

/* Tell libxl of its children that ended; a SIGCHLD handler is never needed, so the caller's keep working. */
static void reap(struct pyxen_loop *loop, libxl_ctx *ctx)
{
    int i = 0;

    while (i < loop->nchildren) {
        struct child child = loop->children[i];
        int status = 0;

        if (!has_ended(&child, &status)) {
            i++;
            continue;
        }
        if (child.pidfd >= 0)
            close(child.pidfd);
        loop->children[i] = loop->children[--loop->nchildren];
        libxl_childproc_reaped(ctx, child.pid, status);
    }
}

static int take_events(libxl_ctx *ctx, struct pyxen_event *events, int most)
{
    int found = 0;
    libxl_event *event;

    while (found < most && !libxl_event_check(ctx, &event, LIBXL_EVENTMASK_ALL, NULL, NULL)) {
        events[found].token = event->for_user;
        events[found].type = event->type;
        events[found].domid = event->domid;
        events[found].code = event->type == LIBXL_EVENT_TYPE_OPERATION_COMPLETE ? event->u.operation_complete.rc : 0;
        libxl_event_free(ctx, event);
        found++;
    }
    return found;
}

/* Add an event for each watch for a guest's answer that was refused; the next call has those without room here. */
static int take_refusals(struct pyxen_event *events, int found, int most)
{
    for (; found < most; found++) {
        struct pyxen_event event = { .type = PYXEN_REFUSED };

        if (!(event.code = pyxen_refused_watch(&event.domid)))
            break;
        events[found] = event;
    }
    return found;
}

/* Add an event for each descriptor of `fds`, the watched ones, that is ready. */
static int take_ready(const struct pollfd *fds, int nfds, struct pyxen_event *events, int found, int most)
{
    for (int i = 0; i < nfds && found < most; i++)
        if (fds[i].revents)
            events[found++] = (struct pyxen_event){ .token = fds[i].fd, .type = PYXEN_READY };
    return found;
}

static int sooner(int one, int other)
{
    return one < 0 || (other >= 0 && other < one) ? other : one;
}

/* Fill loop->fds with libxl's descriptors, `wake`, the children's and those that are watched. Returns the number of
 * libxl's, or -errno. */
static int prepare(struct pyxen_loop *loop, libxl_ctx *ctx, int *timeout, int *total)
{
    int libxls, own;

    for (;;) {
        struct timeval now;
        int wanted = -1, code;

        own = 1 + loop->nwatched;
        for (int i = 0; i < loop->nchildren; i++)
            own += loop->children[i].pidfd >= 0;
        libxls = loop->nfds > own ? loop->nfds - own : 0;
        gettimeofday(&now, NULL);
        if (!ctx)
            libxls = 0;
        code = ctx ? libxl_osevent_beforepoll(ctx, &libxls, loop->fds, &wanted, now) : 0;
        if (!code && loop->nfds >= own + libxls) {
            *timeout = sooner(*timeout, wanted);
            break;
        }
        if (code && code != ERROR_BUFFERFULL)
            return -EIO;
        struct pollfd *grown = realloc(loop->fds, (own + libxls + 8) * sizeof *grown);
        if (!grown)
            return -ENOMEM;
        loop->fds = grown;
        loop->nfds = own + libxls + 8;
    }
    *total = libxls;
    loop->fds[(*total)++] = (struct pollfd){ .fd = loop->wake, .events = POLLIN };
    for (int i = 0; i < loop->nchildren; i++) {
        if (loop->children[i].pidfd >= 0)
            loop->fds[(*total)++] = (struct pollfd){ .fd = loop->children[i].pidfd, .events = POLLIN };
        else
            *timeout = sooner(*timeout, WITHOUT_PIDFD);
    }
    for (int i = 0; i < loop->nwatched; i++)
        loop->fds[(*total)++] = loop->watched[i];
    return libxls;
}

int pyxen_loop_wait(struct pyxen_loop *loop, libxl_ctx *ctx, int timeout, struct pyxen_event *events, int most)
{
    int64_t end = timeout < 0 ? 0 : milliseconds() + timeout;

    for (;;) {
        int left = -1, found, libxls, total = 0, woken;
        uint64_t drained;
        struct timeval now;

        if (timeout >= 0) {
            int64_t until = end - milliseconds();
            left = until > 0 ? until : 0;
        }
        int limit = left;

        pyxen_lock();
        /* libxl does not wake its poller for an operation that ended inside the call which began it. */
        found = take_refusals(events, ctx ? take_events(ctx, events, most) : 0, most);
        libxls = found ? 0 : prepare(loop, ctx, &limit, &total);
        pyxen_unlock();
        if (found || libxls < 0)
            return found ? found : libxls;

        if (poll(loop->fds, total, limit) < 0) {
            if (errno != EINTR)
                return -errno;
            for (int i = 0; i < total; i++)
                loop->fds[i].revents = 0;
        }
        woken = loop->fds[libxls].revents != 0;
        if (woken && read(loop->wake, &drained, sizeof drained) < 0 && errno != EAGAIN)
            return -errno;

        gettimeofday(&now, NULL);
        pyxen_lock();
        found = 0;
        if (ctx) {
            libxl_osevent_afterpoll(ctx, libxls, loop->fds, now);
            reap(loop, ctx);
            found = take_refusals(events, take_events(ctx, events, most), most);
        }
        pyxen_unlock();
        found = take_ready(loop->fds + total - loop->nwatched, loop->nwatched, events, found, most);
        if (found || woken || left == 0)
            return found;
    }
}
