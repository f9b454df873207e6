/* The pretended host: domains, their frames, event channels; and who may change them. */
#include "world.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { MAGIC = 0x6f666678 };

struct world *world;
int memory_fd = -1;

static struct world *mapped[64]; /* every world that this process has used; they stay mapped, since threads may be late */
static int memories[64];
static unsigned worlds;

void unanswered(const char *what, unsigned long number, unsigned long more)
{
    char text[200];
    int length = snprintf(text, sizeof text, "\nThe pretended hypervisor has no answer to %s (%lu, %lu)\n", what, number,
                          more);
    syscall(SYS_write, 2, text, (size_t)length);
    abort();
}

void world_lock(void)
{
    if (pthread_mutex_lock(&world->lock) == EOWNERDEAD)
        pthread_mutex_consistent(&world->lock);
}

void world_unlock(void)
{
    pthread_mutex_unlock(&world->lock);
}

const char *world_root(void)
{
    return world ? world->root : NULL;
}

static int open_below(const char *root, const char *name, int flags)
{
    char path[ROOT_ROOM + 32];

    snprintf(path, sizeof path, "%s/%s", root, name);
    int fd = openat(AT_FDCWD, path, flags | O_CLOEXEC, 0600); /* nothing is redirected: there may be no world yet */
    int high = fd < 0 ? fd : fcntl(fd, F_DUPFD_CLOEXEC, 200); /* out of the way of those who count descriptors */
    if (fd >= 0)
        close(fd);
    return high;
}

int world_make(const char *root)
{
    if (strlen(root) >= ROOT_ROOM)
        return ENAMETOOLONG;
    int state = open_below(root, "state", O_RDWR | O_CREAT | O_EXCL);
    int memory = open_below(root, "memory", O_RDWR | O_CREAT | O_EXCL);
    if (state < 0 || memory < 0 || ftruncate(state, sizeof *world)
        || ftruncate(memory, (off_t)SLOTS * SLOT_PAGES * PAGE))
        return errno;
    close(memory);
    struct world *made = mmap(NULL, sizeof *made, PROT_READ | PROT_WRITE, MAP_SHARED, state, 0);
    close(state);
    if (made == MAP_FAILED)
        return errno;

    pthread_mutexattr_t attributes;
    pthread_mutexattr_init(&attributes);
    pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
    pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
    pthread_mutex_init(&made->lock, &attributes);
    strcpy(made->root, root);
    made->size = sizeof *made;
    made->next_domid = FIRST_DOMID;
    made->scheduler = XEN_SCHEDULER_CREDIT2;
    made->nodes = 1;
    pools_make(made);

    struct domain *dom0 = &made->domains[0];
    made->slots_used = 1; /* domid_in[0] is 0 already */
    dom0->flags = XEN_DOMINF_running;
    dom0->max_vcpus = dom0->vcpus = CPUS;
    dom0->online = (1u << CPUS) - 1;
    dom0->pages = dom0->max_pages = DOM0_PAGES;
    schedule_anew(dom0);
    dom0->next_port = 1;
    /* dom0's kernel has begun with an event channel for xenstored. */
    made->ports[0] = (struct port){ .state = UNBOUND, .number = 1 };
    made->ports_used = 1;
    made->magic = MAGIC;
    munmap(made, sizeof *made);
    return 0;
}

int world_use(const char *root)
{
    if (!root) {
        world = NULL;
        return 0;
    }
    for (unsigned i = 0; i < worlds; i++)
        if (!strcmp(mapped[i]->root, root)) {
            memory_fd = memories[i];
            world = mapped[i];
            return 0;
        }
    int state = open_below(root, "state", O_RDWR);
    if (state < 0)
        return errno;
    struct world *found = mmap(NULL, sizeof *found, PROT_READ | PROT_WRITE, MAP_SHARED, state, 0);
    close(state);
    if (found == MAP_FAILED)
        return errno;
    if (found->magic != MAGIC || found->size != sizeof *found)
        return EINVAL;
    int memory = open_below(root, "memory", O_RDWR);
    if (memory < 0)
        return errno;
    if (worlds == sizeof mapped / sizeof *mapped) { /* the oldest one goes */
        munmap(mapped[0], sizeof *mapped[0]);
        close(memories[0]);
        memmove(mapped, mapped + 1, sizeof mapped - sizeof *mapped);
        memmove(memories, memories + 1, sizeof memories - sizeof *memories);
        worlds--;
    }
    mapped[worlds] = found;
    memories[worlds++] = memory;
    memory_fd = memory;
    world = found;
    return 0;
}

int count_call(enum class class, unsigned op, int domid)
{
    struct counter *counter = &world->counters[class][op % OPS];
    struct log_entry *entry = &world->log[world->calls++ % LOG_LENGTH];
    uint64_t number = ++counter->count, any = ++world->any.count;
    int error = 0;

    if (number >= counter->fail_from && number < counter->fail_until)
        error = counter->error;
    else if (any >= world->any.fail_from && any < world->any.fail_until)
        error = world->any.error;
    else if (class != XENSTORE && fault(HYPERCALLS, NULL)) {
        error = world->sweep.error;
        snprintf(world->sweep.what, sizeof world->sweep.what, "call %d.%u of domain %d", (int)class, op, domid);
    }
    *entry = (struct log_entry){ getpid(), (uint16_t)class, (uint16_t)op, domid, error };
    return error;
}

/* Domains. */

bool is_hvm(const struct domain *domain)
{
    return domain->flags & XEN_DOMINF_hvm_guest;
}

struct domain *domain_of(unsigned domid)
{
    if (domid == DOMID_SELF)
        domid = 0;
    for (unsigned slot = 0; slot < world->slots_used; slot++)
        if (world->domid_in[slot] == domid && domid < DOMID_FIRST_RESERVED)
            return &world->domains[slot];
    return NULL;
}

struct domain *domain_from(unsigned domid)
{
    unsigned lowest = DOMID_FIRST_RESERVED;

    for (unsigned slot = 0; slot < world->slots_used; slot++)
        if (world->domid_in[slot] >= domid && world->domid_in[slot] < lowest)
            lowest = world->domid_in[slot];
    return lowest < DOMID_FIRST_RESERVED ? domain_of(lowest) : NULL;
}

struct domain *domain_new(unsigned wanted)
{
    unsigned slot = 0;

    if (wanted == 0 || wanted >= DOMID_FIRST_RESERVED) {
        while (domain_of(world->next_domid))
            world->next_domid = world->next_domid + 1 < DOMID_FIRST_RESERVED ? world->next_domid + 1 : FIRST_DOMID;
        wanted = world->next_domid;
        world->next_domid = wanted + 1 < DOMID_FIRST_RESERVED ? wanted + 1 : FIRST_DOMID;
    } else if (domain_of(wanted)) {
        errno = EEXIST;
        return NULL;
    }
    while (slot < world->slots_used && world->domid_in[slot] != DOMID_INVALID)
        slot++;
    if (slot == SLOTS) {
        errno = ENOMEM;
        return NULL;
    }
    if (slot == world->slots_used)
        world->slots_used++;
    world->domid_in[slot] = (uint16_t)wanted;
    struct domain *domain = &world->domains[slot];
    domain->domid = (uint16_t)wanted;
    schedule_anew(domain);
    domain->next_port = 1;
    domain->nodes = ~0ull;
    domain->populated[SHARED_INFO_AT / 64] |= 1ull << (SHARED_INFO_AT % 64);
    return domain;
}

void domain_shut_down(struct domain *domain, unsigned reason)
{
    if (domain->flags & XEN_DOMINF_shutdown)
        return;
    domain->flags &= ~(unsigned)(XEN_DOMINF_running | XEN_DOMINF_blocked);
    domain->flags |= XEN_DOMINF_shutdown | (reason & XEN_DOMINF_shutdownmask) << XEN_DOMINF_shutdownshift;
    virq_send(VIRQ_DOM_EXC);
}

void domain_remove(struct domain *domain)
{
    ports_collect();
    for (struct port *port = world->ports; port < world->ports + world->ports_used; port++)
        if (port->state != FREE && port->owner == domain->domid)
            port_close(port);
    fallocate(memory_fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
              (off_t)(slot_of(domain) * SLOT_PAGES * PAGE), (off_t)SLOT_PAGES * PAGE);
    /* Most of a slot was never touched, and shall not be now. */
    for (size_t word = 0; domain->pages && word < SLOT_PAGES / 64; word++)
        if (domain->populated[word])
            domain->pages -= (unsigned)__builtin_popcountll(domain->populated[word]), domain->populated[word] = 0;
    domain->populated[SHARED_INFO_AT / 64] = 0;
    memset(domain, 0, offsetof(struct domain, policy));
    world->domid_in[slot_of(domain)] = DOMID_INVALID;
    virq_send(VIRQ_DOM_EXC);
}

uint64_t pages_of_all(void)
{
    uint64_t pages = XEN_PAGES;

    for (struct domain *domain = world->domains; domain < world->domains + world->slots_used; domain++)
        if (world->domid_in[slot_of(domain)] != DOMID_INVALID)
            pages += domain->pages + domain->paging_bytes / PAGE + (domain->shadow_mb << 8);
    return pages;
}

/* Frames. A guest with page tables of Xen's names them from 0; a PV guest by their place in all memory. */

uint64_t slot_of(const struct domain *domain)
{
    return (uint64_t)(domain - world->domains);
}

bool page_there(const struct domain *domain, uint64_t page)
{
    return page < SLOT_PAGES && domain->populated[page / 64] >> (page % 64) & 1;
}

int page_populate(struct domain *domain, uint64_t first, uint64_t count)
{
    if (first >= USABLE_PAGES || count > USABLE_PAGES - first)
        return ENOMEM;
    if (domain->pages + count > domain->max_pages || pages_of_all() + count > TOTAL_PAGES)
        return ENOMEM;
    for (uint64_t page = first; page < first + count;)
        if (page % 64 == 0 && first + count - page >= 64) {
            domain->pages += 64 - (unsigned)__builtin_popcountll(domain->populated[page / 64]);
            domain->populated[page / 64] = ~0ull;
            page += 64;
        } else {
            if (!page_there(domain, page)) {
                domain->populated[page / 64] |= 1ull << (page % 64);
                domain->pages++;
            }
            page++;
        }
    return 0;
}

uint64_t page_release(struct domain *domain, uint64_t first, uint64_t count)
{
    uint64_t released = 0;

    for (uint64_t page = first; page < first + count && page < USABLE_PAGES; page++)
        if (page_there(domain, page)) {
            domain->populated[page / 64] &= ~(1ull << (page % 64));
            domain->pages--;
            released++;
        }
    if (released)
        fallocate(memory_fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                  (off_t)((slot_of(domain) * SLOT_PAGES + first) * PAGE), (off_t)(count * PAGE));
    return released;
}

int64_t frame_offset(const struct domain *domain, uint64_t frame)
{
    uint64_t base = slot_of(domain) * SLOT_PAGES;
    uint64_t page = is_hvm(domain) ? frame : frame - base;

    return page_there(domain, page) ? (int64_t)((base + page) * PAGE) : -1;
}

int64_t granted_offset(unsigned domid, uint32_t reference)
{
    struct domain *domain = domain_of(domid);
    grant_entry_v1_t entry;

    if (!domain || reference >= GRANT_FRAMES * PAGE / sizeof entry)
        return -1;
    off_t table = (off_t)((slot_of(domain) * SLOT_PAGES + GRANTS_AT) * PAGE);
    if (pread(memory_fd, &entry, sizeof entry, table + (off_t)(reference * sizeof entry)) != sizeof entry)
        return -1;
    if ((entry.flags & GTF_type_mask) != GTF_permit_access || entry.domid != 0)
        return -1;
    return frame_offset(domain, entry.frame);
}

/* Event channels. */

static void fifo_path(char *path, size_t room, uint32_t fifo)
{
    snprintf(path, room, "%s/events/%u", world->root, fifo);
}

static int fifo_open(uint32_t fifo)
{
    char path[ROOT_ROOM + 32];

    fifo_path(path, sizeof path, fifo);
    return fifo ? openat(AT_FDCWD, path, O_WRONLY | O_NONBLOCK | O_CLOEXEC) : -1;
}

bool fifo_is_read(uint32_t fifo)
{
    int fd = fifo_open(fifo);

    if (fd >= 0)
        close(fd);
    return fd >= 0;
}

struct port *port_of(unsigned owner, uint32_t number)
{
    for (struct port *port = world->ports; port < world->ports + world->ports_used; port++)
        if (port->state != FREE && port->owner == owner && port->number == number)
            return port;
    return NULL;
}

struct port *port_new(unsigned owner)
{
    struct domain *domain = domain_of(owner);
    struct port *port = world->ports;

    while (port < world->ports + world->ports_used && port->state != FREE)
        port++;
    if (!domain || port == world->ports + PORTS)
        return NULL;
    if (port == world->ports + world->ports_used)
        world->ports_used++;
    do
        domain->next_port = domain->next_port + 1 < PORTS ? domain->next_port + 1 : 2; /* dom0's 1 is xenstore's */
    while (port_of(owner, domain->next_port));
    *port = (struct port){ .owner = (uint16_t)owner, .number = domain->next_port };
    return port;
}

void port_close(struct port *port)
{
    if (port->state == INTERDOMAIN) {
        struct port *other = &world->ports[port->remote];
        other->state = UNBOUND;
        other->remote = 0;
    }
    *port = (struct port){ 0 };
}

void ports_collect(void)
{
    char path[ROOT_ROOM + 32];

    for (struct port *port = world->ports; port < world->ports + world->ports_used; port++)
        if (port->state != FREE && port->fifo && !fifo_is_read(port->fifo)) {
            fifo_path(path, sizeof path, port->fifo);
            port_close(port);
            unlinkat(AT_FDCWD, path, 0);
        }
}

int port_bind(unsigned owner, unsigned remote_domid, uint32_t remote_number, uint32_t fifo)
{
    struct port *remote = port_of(remote_domid, remote_number);

    if (!domain_of(remote_domid))
        return -ESRCH;
    if (remote && remote->state == INTERDOMAIN)
        ports_collect(); /* its other end may be that of a process which is gone */
    if (!remote || remote->state != UNBOUND || remote->remote_domid != owner)
        return -EINVAL;
    struct port *port = port_new(owner);
    if (!port)
        return -ENOSPC;
    port->state = remote->state = INTERDOMAIN;
    port->remote_domid = (uint16_t)remote_domid;
    port->remote = (uint32_t)(remote - world->ports);
    remote->remote = (uint32_t)(port - world->ports);
    port->fifo = fifo;
    return (int)port->number;
}

static void port_raise(struct port *port)
{
    int fd = fifo_open(port->fifo);

    port->events++;
    if (fd < 0)
        return;
    if (syscall(SYS_write, fd, &port->number, sizeof port->number) < 0) {
        /* It is full: its reader will look anyway. */
    }
    close(fd);
}

void port_send(struct port *port)
{
    if (port->state == INTERDOMAIN)
        port_raise(&world->ports[port->remote]);
}

void virq_send(uint32_t virq)
{
    for (struct port *port = world->ports; port < world->ports + world->ports_used; port++)
        if (port->state == VIRQ && port->virq == virq)
            port_raise(port);
}
