/*
 * Lets the real xl run its dry runs on any machine, thousands a second.
 *
 * Preloaded into xl, this answers the few questions about the host that xl asks before it prints what it made of a
 * configuration (an idle hypervisor of 64 CPUs in 4 NUMA nodes), and makes the process a server: before main() it
 * reads requests from standard input and forks for each, so that a request costs a fork and not a program start.
 *
 * A request is 4 bytes of length and the text; the child's last argument is replaced by it, except where one of them
 * is "CONFIG": then the text is the content of the file of that name, and what follows a NUL, "xl.conf" and another NUL
 * in it is the content of xl's own settings. The answer is the exit status (128 + the signal
 * where one ended it), the lengths of what was written to standard output and to standard error, each 4 bytes, and
 * both texts. All numbers are little endian.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <xenctrl.h>
#include <xenstore.h>

enum { CPUS = 64, NODES = 4, MAX_NODES = 64, TIME_LIMIT = 20, MEMORY_PAGES = 4 << 20 };

static char config_name[] = "CONFIG";
static char *request;
static uint32_t request_length;

static const char settings_follow[] = "\0xl.conf"; /* with the NUL that ends it */

/* What xl asks of libxenlight about files: CONFIG, and its own settings, /etc/xen/xl.conf. */

int libxl_read_file_contents(void *ctx, const char *path, void **data, int *length)
{
    const char *end = request + request_length, *from = request, *to = end;
    const char *mark = memmem(request, request_length, settings_follow, sizeof settings_follow);

    (void)ctx;
    if (strcmp(path, config_name))
        from = mark ? mark + sizeof settings_follow : end;
    else if (mark)
        to = mark;
    *length = (int)(to - from);
    *data = malloc((size_t)*length + 1);
    if (!*data)
        return ENOMEM;
    memcpy(*data, from, (size_t)*length);
    ((char *)*data)[*length] = 0;
    return 0;
}

/* What libxenlight asks of libxenctrl about the host. */

static char handle;

xc_interface *xc_interface_open(xentoollog_logger *a, xentoollog_logger *b, unsigned flags)
{
    (void)a, (void)b, (void)flags;
    return (xc_interface *)&handle;
}

int xc_interface_close(xc_interface *xch)
{
    (void)xch;
    return 0;
}

int xc_physinfo(xc_interface *xch, xc_physinfo_t *info)
{
    (void)xch;
    memset(info, 0, sizeof *info);
    info->threads_per_core = 1;
    info->cores_per_socket = CPUS / NODES;
    info->nr_cpus = CPUS;
    info->max_cpu_id = CPUS - 1;
    info->nr_nodes = NODES;
    info->max_node_id = NODES - 1;
    info->total_pages = MEMORY_PAGES;
    info->free_pages = MEMORY_PAGES;
    return 0;
}

long xc_sharing_freed_pages(xc_interface *xch)
{
    (void)xch;
    return 0;
}

long xc_sharing_used_frames(xc_interface *xch)
{
    (void)xch;
    return 0;
}

int xc_get_max_cpus(xc_interface *xch)
{
    (void)xch;
    return CPUS;
}

int xc_get_online_cpus(xc_interface *xch)
{
    (void)xch;
    return CPUS;
}

int xc_get_max_nodes(xc_interface *xch)
{
    (void)xch;
    return MAX_NODES; /* at least CPUS: xl collects the CPUs of a node in a bitmap of this many bits */
}

int xc_cputopoinfo(xc_interface *xch, unsigned *count, xc_cputopo_t *topology)
{
    (void)xch;
    for (unsigned cpu = 0; topology && cpu < *count && cpu < CPUS; cpu++) {
        topology[cpu].core = cpu;
        topology[cpu].socket = topology[cpu].node = cpu / (CPUS / NODES);
    }
    *count = CPUS;
    return 0;
}

static const char command_line[] = "dom0_mem=1024M,max:1024M";

int xc_version(xc_interface *xch, int command, void *answer)
{
    (void)xch;
    switch (command) {
    case XENVER_version:
        return 4 << 16;
    case XENVER_commandline:
        memcpy(answer, command_line, sizeof command_line);
        return 0;
    case XENVER_pagesize:
        return 4096;
    default:
        memset(answer, 0, 16);
        return 0;
    }
}

/* Xen 4.18 and newer ask for the strings one by one. */

char *xc_xenver_extraversion(xc_interface *xch)
{
    (void)xch;
    return strdup("");
}

char *xc_xenver_capabilities(xc_interface *xch)
{
    (void)xch;
    return strdup("xen-3.0-x86_64 hvm-3.0-x86_64");
}

char *xc_xenver_changeset(xc_interface *xch)
{
    (void)xch;
    return strdup("");
}

char *xc_xenver_commandline(xc_interface *xch)
{
    (void)xch;
    return strdup(command_line);
}

char *xc_xenver_buildid(xc_interface *xch)
{
    (void)xch;
    return strdup("");
}

/* What libxenlight asks of xenstore: nothing is there, and every domain is called Domain-0. */

struct xs_handle *xs_open(unsigned long flags)
{
    (void)flags;
    return (struct xs_handle *)&handle;
}

void xs_close(struct xs_handle *xs)
{
    (void)xs;
}

void *xs_read(struct xs_handle *xs, xs_transaction_t transaction, const char *path, unsigned *length)
{
    const char *name = strrchr(path, '/');

    (void)xs, (void)transaction;
    if (!name || strcmp(name, "/name")) {
        errno = ENOENT;
        return NULL;
    }
    if (length)
        *length = strlen("Domain-0");
    return strdup("Domain-0");
}

char **xs_directory(struct xs_handle *xs, xs_transaction_t transaction, const char *path, unsigned *count)
{
    (void)xs, (void)transaction, (void)path;
    *count = 0;
    errno = ENOENT;
    return NULL;
}

char *xs_get_domain_path(struct xs_handle *xs, unsigned domid)
{
    char *path;

    (void)xs;
    return asprintf(&path, "/local/domain/%u", domid) < 0 ? NULL : path;
}

/* The server. */

static void read_all(int fd, void *buffer, size_t length)
{
    for (char *at = buffer; length;) {
        ssize_t got = read(fd, at, length);
        if (got <= 0)
            _exit(0);
        at += got;
        length -= (size_t)got;
    }
}

static void write_all(int fd, const void *buffer, size_t length)
{
    for (const char *at = buffer; length;) {
        ssize_t put = write(fd, at, length);
        if (put <= 0)
            _exit(1);
        at += put;
        length -= (size_t)put;
    }
}

static int new_file(const char *name)
{
    int fd = memfd_create(name, 0);
    if (fd < 0) {
        perror("memfd_create");
        _exit(1);
    }
    return fd;
}

static void send_file(int to, int file, uint32_t length)
{
    void *content = mmap(NULL, length, PROT_READ, MAP_SHARED, file, 0);

    if (!length)
        return;
    if (content == MAP_FAILED)
        _exit(1);
    write_all(to, content, length);
    munmap(content, length);
}

static uint32_t file_length(int file)
{
    struct stat status;

    return fstat(file, &status) ? 0 : (uint32_t)status.st_size;
}

static int reads_config(int argc, char **argv)
{
    for (int i = 0; i < argc; i++)
        if (!strcmp(argv[i], config_name))
            return 1;
    return 0;
}

static void serve(int argc, char **argv)
{
    int in = fcntl(0, F_DUPFD_CLOEXEC, 10), answers = fcntl(1, F_DUPFD_CLOEXEC, 10);
    int nothing = open("/dev/null", O_RDONLY);

    for (;;) {
        read_all(in, &request_length, sizeof request_length);
        request = malloc(request_length + 1);
        read_all(in, request, request_length);
        request[request_length] = 0;

        int out = new_file("stdout"), err = new_file("stderr");
        pid_t child = fork();
        if (child < 0)
            _exit(1);
        if (!child) {
            dup2(nothing, 0);
            dup2(out, 1);
            dup2(err, 2);
            close(in), close(answers), close(out), close(err);
            if (!reads_config(argc, argv))
                argv[argc - 1] = request;
            alarm(TIME_LIMIT);
            return;
        }
        free(request);
        int status;
        waitpid(child, &status, 0);
        uint32_t head[3] = {
            WIFSIGNALED(status) ? 128u + (uint32_t)WTERMSIG(status) : (uint32_t)WEXITSTATUS(status),
            file_length(out),
            file_length(err),
        };
        write_all(answers, head, sizeof head);
        send_file(answers, out, head[1]);
        send_file(answers, err, head[2]);
        close(out), close(err);
    }
}

__attribute__((constructor)) static void start(int argc, char **argv)
{
    if (getenv("PYXEN_ORACLE_SERVER")) {
        unsetenv("PYXEN_ORACLE_SERVER");
        unsetenv("LD_PRELOAD");
        serve(argc, argv);
    }
}
