/* The program that worker.h is about. */

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <ucontext.h>
#include <unistd.h>
#include <libxl.h>
#include <libxl_event.h>
#include <libxl_utils.h>

#include "loop.h"
#include "names.h"
#include "worker.h"

#if !defined(__GLIBC__) && !defined(PYXEN_UCONTEXT)
#error "this C library may lack makecontext, as musl does: install libucontext, and build with \
CFLAGS=-DPYXEN_UCONTEXT LDFLAGS='-lucontext_posix -lucontext'"
#endif

#define LINE_LENGTH 4096
#define MOST_EVENTS 16
#define UUID_LENGTH 16
#define STACK_SIZE (256 * 1024)
#define SLICE 50         /* ms between looks at scripts that are to end */
#define MERCY 5000       /* ms that they have to end by themselves */
#define LAST_MERCY 1000  /* ms that they have when they were told to */
#define NO_DOMID 0xffffffff /* INVALID_DOMID is a macro of libxl's own */

struct job {
    struct job *next;
    uint64_t token;
    uint32_t kind;
    uint32_t domid;
    libxl_domain_config config;
    libxl_asyncop_how how;
    void *stack; /* of a call that needs its own until its end */
};

struct worker {
    xentoollog_logger vtable; /* first, so that a worker is an xentoollog_logger */
    pid_t pid;
    int fd;
    int min_level;
    int alone; /* the other end is gone */
    int cut_off; /* from xenstore, for good */
    struct job *devd; /* which ends with the process */
    int leaving; /* it was aborted */
    uint64_t current; /* the job whose call is under way */
    libxl_ctx *ctx;
    struct pyxen_loop *loop;
    struct job *jobs;
    char *input;
    size_t held, room;
};

static void transmit(struct worker *worker, struct pyxen_frame frame, const char *text)
{
    struct iovec parts[] = { { &frame, sizeof frame }, { (char *)text, frame.length } };
    struct msghdr message = { .msg_iov = parts, .msg_iovlen = 2 };

    while (!worker->alone && (parts[0].iov_len || parts[1].iov_len)) {
        ssize_t sent = sendmsg(worker->fd, &message, MSG_NOSIGNAL);

        if (sent < 0 && errno == EINTR)
            continue;
        if (sent < 0) {
            worker->alone = 1;
            return;
        }
        for (int i = 0; i < 2; i++) {
            size_t part = (size_t)sent < parts[i].iov_len ? (size_t)sent : parts[i].iov_len;

            parts[i].iov_base = (char *)parts[i].iov_base + part;
            parts[i].iov_len -= part;
            sent -= part;
        }
    }
}

static void vmessage(xentoollog_logger *base, xentoollog_level level, int errnoval, const char *context,
                     const char *format, va_list arguments)
{
    struct worker *worker = (struct worker *)base;
    int saved = errno, foreign = context && *context && strcmp(context, "libxl");
    char line[LINE_LENGTH];
    size_t length = 0;
    uint64_t token = worker->current;

    /* A child of libxl's would write into the middle of a frame. */
    if ((int)level < worker->min_level || getpid() != worker->pid)
        return;
    if (foreign)
        length = snprintf(line, sizeof line / 2, "%s: ", context);
    if (length >= sizeof line / 2)
        length = sizeof line / 2 - 1;
    vsnprintf(line + length, sizeof line - length, format, arguments);
    length = strlen(line);
    if (errnoval > 0)
        snprintf(line + length, sizeof line - length, ": %s", strerror(errnoval));
    if (!token && worker->jobs && !worker->jobs->next)
        token = worker->jobs->token; /* there is no other that it could be about */
    transmit(worker, (struct pyxen_frame){ PYXEN_LOG, strlen(line), token, 0, level }, line);
    errno = saved;
}

static void progress(xentoollog_logger *base, const char *context, const char *what, int percent, unsigned long done,
                     unsigned long total)
{
    (void)base, (void)context, (void)what, (void)percent, (void)done, (void)total;
}

static void destroy(xentoollog_logger *base)
{
    (void)base; /* it is in a variable of main's */
}

/* After a failure: tell the other end if all that follows will fail, too, and let nothing wait for xenstore. */
static void look_after_failure(struct worker *worker)
{
    int level = worker->min_level;

    if (worker->cut_off)
        return;
    worker->min_level = XTL_NUM_LEVELS; /* libxl logs what it does not get */
    worker->cut_off = pyxen_ctx_is_cut_off(worker->ctx);
    worker->min_level = level;
    if (!worker->cut_off)
        return;
    transmit(worker, (struct pyxen_frame){ .kind = PYXEN_CUT_OFF }, NULL);
    for (struct job *job = worker->jobs; job; job = job->next)
        libxl_ao_abort(worker->ctx, &job->how);
}

static void end(struct worker *worker, struct job *job, int code)
{
    struct job **at = &worker->jobs;

    while (*at != job)
        at = &(*at)->next;
    *at = job->next;
    if (code)
        look_after_failure(worker);
    transmit(worker, (struct pyxen_frame){ PYXEN_DONE, 0, job->token, job->domid, code }, NULL);
    libxl_domain_config_dispose(&job->config);
    free(job->stack);
    free(job);
}

static int begin_create(struct worker *worker, struct job *job, int number, const char *uuid, const char *json)
{
    uint64_t needed = 0, available = 0;
    int code;

    if (libxl_domain_config_from_json(worker->ctx, &job->config, json) ||
        libxl_domain_need_memory(worker->ctx, &job->config, job->domid, &needed) ||
        libxl_get_free_memory(worker->ctx, &available) || needed > available)
        return PYXEN_NOT_BEGUN;
    memcpy(libxl_uuid_bytearray(&job->config.c_info.uuid), uuid, UUID_LENGTH);
    pyxen_name_is_free(number & PYXEN_NAME_IS_FREE ? job->config.c_info.name : NULL);
    code = libxl_domain_create_new(worker->ctx, &job->config, &job->domid, &job->how, NULL);
    pyxen_name_is_free(NULL);
    return code;
}

static int begin_restore(struct worker *worker, struct job *job, int number, const char *uuid, const char *json)
{
    libxl_domain_restore_params params;
    int code = ERROR_INVAL;

    libxl_domain_restore_params_init(&params);
    params.stream_version = 2; /* since Xen 4.6 */
    params.checkpointed_stream = number & ~PYXEN_NAME_IS_FREE;
    if (!libxl_domain_config_from_json(worker->ctx, &job->config, json)) {
        memcpy(libxl_uuid_bytearray(&job->config.c_info.uuid), uuid, UUID_LENGTH);
        pyxen_name_is_free(number & PYXEN_NAME_IS_FREE ? job->config.c_info.name : NULL);
        code = libxl_domain_create_restore(worker->ctx, &job->config, &job->domid, PYXEN_STREAM_FD, -1, &params,
                                           &job->how, NULL);
        pyxen_name_is_free(NULL);
    }
    libxl_domain_restore_params_dispose(&params);
    return code;
}

static struct {
    ucontext_t here, there;
    struct worker *worker;
    struct job *job;
    int code;
} apart;

/* To these two libxl gives a local variable of the function that begins the work, which has long returned when that is
 * used: so the function has a stack of its own, which stays until the end. */
static int call_apart(struct worker *worker, struct job *job, void (*call)(void))
{
    job->stack = calloc(1, STACK_SIZE);
    if (!job->stack)
        return ERROR_NOMEM;
    apart.worker = worker;
    apart.job = job;
    getcontext(&apart.there);
    apart.there.uc_stack.ss_sp = job->stack;
    apart.there.uc_stack.ss_size = STACK_SIZE;
    apart.there.uc_link = &apart.here;
    makecontext(&apart.there, call, 0);
    swapcontext(&apart.here, &apart.there);
    return apart.code;
}

static void call_soft_reset(void)
{
    struct job *job = apart.job;

    apart.code = libxl_domain_soft_reset(apart.worker->ctx, &job->config, job->domid, &job->how, NULL);
}

static int begin_soft_reset(struct worker *worker, struct job *job, const char *json)
{
    if (libxl_domain_config_from_json(worker->ctx, &job->config, json))
        return ERROR_INVAL;
    return call_apart(worker, job, call_soft_reset);
}

static void call_devd(void)
{
    apart.code = libxl_device_events_handler(apart.worker->ctx, &apart.job->how);
}

static int begin_devd(struct worker *worker, struct job *job)
{
    int code = call_apart(worker, job, call_devd);

    if (!code)
        worker->devd = job;
    return code;
}

static void begin(struct worker *worker, const struct pyxen_frame *frame, const char *payload)
{
    struct job *job = calloc(1, sizeof *job);
    int code = ERROR_INVAL;

    if (!job) {
        transmit(worker, (struct pyxen_frame){ PYXEN_DONE, 0, frame->token, frame->domid, ERROR_NOMEM }, NULL);
        return;
    }
    job->token = frame->token;
    job->kind = frame->kind;
    job->domid = frame->domid;
    job->how.u.for_event = job->token;
    libxl_domain_config_init(&job->config);
    job->next = worker->jobs;
    worker->jobs = job;

    worker->current = job->token;
    if (frame->kind == PYXEN_CREATE)
        code = begin_create(worker, job, frame->number, payload, payload + UUID_LENGTH);
    else if (frame->kind == PYXEN_RESTORE)
        code = begin_restore(worker, job, frame->number, payload, payload + UUID_LENGTH);
    else if (frame->kind == PYXEN_DESTROY)
        code = libxl_domain_destroy(worker->ctx, job->domid, &job->how);
    else if (frame->kind == PYXEN_CORE_DUMP)
        code = libxl_domain_core_dump(worker->ctx, job->domid, payload, &job->how);
    else if (frame->kind == PYXEN_SOFT_RESET)
        code = begin_soft_reset(worker, job, payload);
    else if (frame->kind == PYXEN_DEVD)
        code = begin_devd(worker, job);
    worker->current = 0;
    if (code)
        end(worker, job, code);
}

static void on_frame(struct worker *worker, const struct pyxen_frame *frame, const char *payload)
{
    if (frame->kind == PYXEN_LOG_LEVEL) {
        worker->min_level = frame->number;
    } else if (frame->kind == PYXEN_ABORT) {
        for (struct job *job = worker->jobs; job; job = job->next)
            if (job->token == frame->token && job == worker->devd)
                worker->leaving = 1; /* libxl has no way to end it */
            else if (job->token == frame->token)
                libxl_ao_abort(worker->ctx, &job->how);
    } else {
        begin(worker, frame, payload);
    }
}

/* Take in what has come, and act on each frame that is there as a whole. */
static void receive(struct worker *worker)
{
    size_t at = 0;
    ssize_t got;

    if (worker->room - worker->held < 65536) {
        char *grown = realloc(worker->input, worker->held + 131072);

        if (!grown)
            _exit(1);
        worker->input = grown;
        worker->room = worker->held + 131072;
    }
    got = recv(worker->fd, worker->input + worker->held, worker->room - worker->held, MSG_DONTWAIT);
    if (got < 0 && (errno == EINTR || errno == EAGAIN))
        return;
    if (got <= 0) {
        worker->alone = 1;
        return;
    }
    worker->held += got;
    while (worker->held - at >= sizeof(struct pyxen_frame)) {
        struct pyxen_frame frame;

        memcpy(&frame, worker->input + at, sizeof frame);
        if (worker->held - at - sizeof frame < frame.length)
            break;
        on_frame(worker, &frame, worker->input + at + sizeof frame);
        at += sizeof frame + frame.length;
    }
    memmove(worker->input, worker->input + at, worker->held - at);
    worker->held -= at;
}

static void on_event(struct worker *worker, const struct pyxen_event *event)
{
    struct job *job = worker->jobs;

    if (event->type == PYXEN_READY) {
        receive(worker);
        return;
    }
    while (job && job->token != event->token)
        job = job->next;
    if (!job || event->type != LIBXL_EVENT_TYPE_OPERATION_COMPLETE)
        return;
    if (worker->alone && (job->kind == PYXEN_CREATE || job->kind == PYXEN_RESTORE) && job->domid != NO_DOMID) {
        /* Nobody will ever know that it is there. libxl destroys what it aborts, but that is aborted too. */
        job->kind = PYXEN_DESTROY;
        if (!libxl_domain_destroy(worker->ctx, job->domid, &job->how))
            return;
    }
    end(worker, job, event->code);
}

/* End what libxl never ends. Scripts that run come to their end, as long as that takes no time: a device whose script
 * is killed is of no use. What they left running in the background stays, as after xl devd. */
static void leave(struct worker *worker)
{
    struct pyxen_event events[MOST_EVENTS];

    pyxen_loop_watch(worker->loop, worker->fd, 0);
    for (int waited = 0; pyxen_loop_children(worker->loop); waited += SLICE) {
        if (waited == MERCY)
            kill(0, SIGTERM);
        if (waited >= MERCY + LAST_MERCY)
            kill(0, SIGKILL); /* us too */
        if (pyxen_loop_wait(worker->loop, worker->ctx, SLICE, events, MOST_EVENTS) < 0)
            usleep(SLICE * 1000);
    }
    /* We end anyway, so xenstored, which may hang, is not asked as after other failures. */
    transmit(worker, (struct pyxen_frame){ PYXEN_DONE, 0, worker->devd->token, worker->devd->domid, ERROR_ABORTED },
             NULL);
}

static void ignore(int number)
{
    (void)number;
}

static int is_socket(int fd)
{
    struct stat found;

    return !fstat(fd, &found) && S_ISSOCK(found.st_mode);
}

int main(void)
{
    static libxl_childproc_hooks hooks = { .chldowner = libxl_sigchld_owner_mainloop, .fork_replacement = pyxen_fork };
    struct worker worker = {
        .vtable = { vmessage, progress, destroy },
        .fd = PYXEN_SOCKET_FD,
        .min_level = XTL_WARN,
    };
    struct pyxen_event events[MOST_EVENTS];
    int undone = 0;

    if (!is_socket(worker.fd)) {
        fputs("pyxen starts this program when it creates or destroys a domain, and speaks with it\n", stderr);
        return EX_USAGE;
    }
    /* The other end decides, also where systemd tells every process of a service. Programs that libxl begins do not
     * inherit a handler. */
    signal(SIGINT, ignore);
    signal(SIGTERM, ignore);
    signal(SIGPIPE, SIG_IGN); /* libxl writes to QEMU, which may be gone; it sets it right for its children */
    signal(SIGXFSZ, SIG_IGN); /* a core dump that may not be so large fails */
    /* What libxl begins, as a device model, must not hold it open: the other end has to see when we are gone. */
    fcntl(worker.fd, F_SETFD, FD_CLOEXEC);
    fcntl(PYXEN_STREAM_FD, F_SETFD, FD_CLOEXEC); /* it may not be there */
    worker.pid = getpid();
    worker.loop = pyxen_loop_new(-1, &worker.vtable);
    if (!worker.loop || pyxen_ctx_alloc(&worker.ctx, &worker.vtable) || pyxen_loop_watch(worker.loop, worker.fd, POLLIN))
        return 1;
    libxl_childproc_setmode(worker.ctx, &hooks, worker.loop);
    transmit(&worker, (struct pyxen_frame){ .kind = PYXEN_HELLO, .number = PYXEN_PROTOCOL }, NULL);
    while (!worker.alone || worker.jobs) {
        int found = pyxen_loop_wait(worker.loop, worker.ctx, -1, events, MOST_EVENTS);

        if (found < 0)
            return 1;
        for (int i = 0; i < found; i++)
            on_event(&worker, &events[i]);
        if (worker.devd && (worker.alone || worker.leaving)) {
            leave(&worker);
            return 0; /* with a context that cannot be freed any more */
        }
        if (worker.alone && !undone) {
            undone = 1;
            pyxen_loop_watch(worker.loop, worker.fd, 0);
            /* An abort of a restore before its helper runs would crash libxl; its stream ends by itself. */
            for (struct job *job = worker.jobs; job; job = job->next)
                if (job->kind != PYXEN_DESTROY && job->kind != PYXEN_SOFT_RESET && job->kind != PYXEN_RESTORE)
                    libxl_ao_abort(worker.ctx, &job->how);
        }
    }
    libxl_ctx_free(worker.ctx);
    return 0;
}
