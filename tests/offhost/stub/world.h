/*
 * A hypervisor in the small: its state is one file that every process of a pretended host has mapped, and the memory
 * of all its domains is another one, sparse.
 */
#ifndef WORLD_H
#define WORLD_H

#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <xenctrl.h>
#include <xen/grant_table.h>
#include <xen/hvm/params.h>
#include <xen/sys/privcmd.h>

#ifndef XEN_MINOR
#error XEN_MINOR must be given: the release that this is compiled for, as 17 of 4.17
#endif

/* What is to be seen from outside of the stub: the C library's functions that it stands in for, and the control. */
#define EXPORT __attribute__((visibility("default")))

enum {
    PAGE = 4096,
    SLOTS = 1024,                  /* domains that can be there at once */
    SLOT_PAGES = 1 << 21,          /* frames of each: 8 GiB */
    GRANT_FRAMES = 64,             /* the last frames of each slot are its grant table, */
    GRANTS_AT = SLOT_PAGES - GRANT_FRAMES,
    SHARED_INFO_AT = GRANTS_AT - 1, /* before them is its shared info page; */
    USABLE_PAGES = SHARED_INFO_AT, /* what is below can be populated */
    PORTS = 16384,
    CONTEXT_ROOM = 64 << 10,
    PARAMS = 64,
    VCPUS = 128,                   /* of one domain */
    CLASSES = 16,
    OPS = 256,
    LOG_LENGTH = 4096,
    ROOT_ROOM = 80,                /* sockets below the root must fit into a sockaddr_un */

    CPUS = 4,
    POOLS = 8,
    TOTAL_PAGES = 4 << 20,         /* 16 GiB */
    XEN_PAGES = 16 << 10,          /* of these, what the hypervisor keeps */
    DOM0_PAGES = 256 << 10,
    FIRST_DOMID = 1,
};

/* What is counted, and can be made to fail. */
enum class { DOMCTL, SYSCTL, MEMORY, EVTCHN, HVM, VERSION, SCHED, GRANT, PHYSDEV, MMUEXT, MMU, HYPFS, XSM, DM, DEVICE,
             XENSTORE };

/* Operations of DEVICE: what the kernel does for dom0. */
enum device { MAP_BATCH = 1, MAP_RESOURCE, GRANT_MAP, GRANT_UNMAP, BIND_VIRQ, BIND_INTERDOMAIN, BIND_UNBOUND, UNBIND,
              NOTIFY };

/* Operations of XENSTORE: what a client does with its socket. */
enum xenstore { CONNECT = 1, SEND, RECEIVE };

struct counter {
    uint64_t count;
    uint64_t fail_from, fail_until; /* the counts that fail: from, and not any more */
    int error;
};

/* What a sweep makes fail: the nth call of some kinds together, of the toolstack's processes, not Xen's daemons. */
enum kind {
    HYPERCALLS = 1,  /* and what the kernel does for dom0 */
    REQUESTS = 2,    /* messages to xenstored */
    FILES = 4,       /* the host's own: opened, read, written, renamed, removed */
    RESOURCES = 8,   /* descriptors, threads and processes */
    ALLOCATIONS = 16 /* of memory; only in processes that the test has begun, since libxl ends a process without */
};

enum how {
    FAIL = 1, /* the call fails; xenstored does not see the request */
    DENY,     /* xenstored refuses the request */
    TEAR,     /* the head of the request is sent, and its body fails */
    CUT,      /* the connection ends */
    DIE,      /* the process is killed; only one that the test has begun */
    STOP      /* the process is stopped, and sends the request when it goes on; only one that the test has begun */
};

struct sweep {
    uint32_t kinds;
    uint32_t how;
    int error;
    uint64_t count, nth;
    uint64_t hits;
    int32_t pid;    /* in which process it was */
    char what[64];  /* which call it was */
};

struct log_entry {
    int32_t pid;
    uint16_t class, op;
    int32_t domid;
    int32_t error;
};

enum port_state { FREE, UNBOUND, INTERDOMAIN, VIRQ };

/* An event channel. Those of dom0 lead to the FIFO of the process that bound them, those of guests to none. */
struct port {
    uint8_t state;
    uint16_t owner, remote_domid;
    uint32_t number; /* of its owner */
    uint32_t remote; /* the other end: an index of this table */
    uint32_t virq;
    uint32_t fifo;
    uint64_t events; /* that came for it */
};

/* A CPU pool; without a scheduler there is none. */
struct pool {
    uint32_t sched, cpus;
    uint32_t tslice_ms, ratelimit_us, delay_us;
};

struct domain {
    uint16_t domid;
    uint32_t flags; /* XEN_DOMINF_... */
    uint32_t created_with; /* XEN_DOMCTL_CDF_... */
    uint8_t handle[16];
    uint32_t emulation;
    uint32_t ssidref;
    uint32_t paused; /* how often */
    bool lingers; /* destroyed, it stays as dying until it is removed */
    uint32_t max_vcpus, vcpus; /* allowed, and there */
    uint64_t online;           /* a bit for each vCPU: whether it is up; the last bit is for all beyond it */
    uint64_t pages, max_pages, next_page;
    uint64_t paging_bytes, shadow_mb;
    uint32_t cpupool;
    uint32_t next_port;
    uint32_t address_size;
    uint32_t target;
    int32_t time_offset;
    uint32_t tsc_mode, tsc_khz, tsc_incarnation;
    uint64_t tsc_nsec;
    uint64_t hard[VCPUS], soft[VCPUS];
    uint64_t nodes;
    uint16_t weight, cap;
    struct xen_domctl_sched_rtds rtds[VCPUS];
    uint64_t params[PARAMS];
    uint32_t context_length;
    uint32_t leaves, msrs;
    uint8_t policy[32 << 10];
    uint8_t context[CONTEXT_ROOM];
    uint64_t populated[SLOT_PAGES / 64];
};

struct world {
    uint32_t magic, size;
    pthread_mutex_t lock;
    char root[ROOT_ROOM];
    uint32_t next_domid, next_fifo, scheduler, nodes;
    bool no_shadow; /* built without shadow paging */
    bool hypfs;     /* built with a file system of its own, which has this parameter: */
    char loglvl[16];
    struct pool pools[POOLS];
    uint64_t calls; /* of all kinds */
    uint32_t slots_used, ports_used;  /* what is beyond was never used, and need not be looked at */
    uint16_t domid_in[SLOTS];         /* DOMID_INVALID where the slot is free */
    struct counter any, counters[CLASSES][OPS];
    struct sweep sweep;
    struct log_entry log[LOG_LENGTH];
    struct port ports[PORTS];
    struct domain domains[SLOTS];
};

extern struct world *world;
extern int memory_fd;

/* All of the functions below are for whoever holds the lock, where nothing else is said. */
void world_lock(void);   /* without it, of course */
void world_unlock(void);
int world_make(const char *root); /* without */
int world_use(const char *root);  /* without */
const char *world_root(void);     /* without; NULL where no world is used */

void unanswered(const char *what, unsigned long number, unsigned long more) __attribute__((noreturn));

struct domain *domain_of(unsigned domid);
struct domain *domain_from(unsigned domid); /* the first one from there */
struct domain *domain_new(unsigned wanted); /* DOMID_INVALID: any */
void domain_shut_down(struct domain *domain, unsigned reason);
void domain_remove(struct domain *domain);
uint64_t pages_of_all(void);
bool is_hvm(const struct domain *domain);

bool page_there(const struct domain *domain, uint64_t page);
int page_populate(struct domain *domain, uint64_t first, uint64_t count);
uint64_t page_release(struct domain *domain, uint64_t first, uint64_t count); /* how many were there */
uint64_t slot_of(const struct domain *domain);
/* Where the frame of a domain is in the memory file, as the domain or its builder names it; -1 if it has none. */
int64_t frame_offset(const struct domain *domain, uint64_t frame);
int64_t granted_offset(unsigned domid, uint32_t reference);

struct port *port_of(unsigned owner, uint32_t number);
struct port *port_new(unsigned owner);
void port_close(struct port *port);
int port_bind(unsigned owner, unsigned remote_domid, uint32_t remote_number, uint32_t fifo); /* its number, or -errno */
/* Closes the ports of domain 0 whose process has closed its descriptor, as the kernel does. */
void ports_collect(void);
void port_send(struct port *port);
void virq_send(uint32_t virq);
bool fifo_is_read(uint32_t fifo);

/* Counts a call; 0, or the errno that it shall fail with. */
int count_call(enum class class, unsigned op, int domid);

/* Tells whether a call is the one that a sweep makes fail, with `world->sweep.error`. Needs no lock. */
bool fault(enum kind kind, const char *what);
/* Whether a file, by its path below the root, is one of the stub's own, whose calls are nobody's and do not fail. */
bool is_of_the_stub(const char *below);
extern bool toolstack; /* this process is not one of Xen's daemons */
extern bool begun;     /* this process was begun on a pretended host, and is not the test's */

long hypercall(const void *argument); /* without; a privcmd_hypercall_t, aligned or not */
void pools_make(struct world *made);
void schedule_anew(struct domain *domain);
int schedule(struct domain *domain, struct xen_domctl_scheduler_op *op);
int pool_op(struct xen_sysctl_cpupool_op *op);
int pool_schedule(struct xen_sysctl_scheduler_op *op);
int do_domctl(xen_domctl_t *op);
int do_sysctl(xen_sysctl_t *op);
long do_memory(unsigned op, void *argument);

#endif
