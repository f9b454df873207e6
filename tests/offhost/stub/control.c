/* What a test does to the pretended host: called by ctypes, in any process that has loaded the stub. */
#include "world.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

__attribute__((constructor)) static void start(void)
{
    const char *root = getenv("PYXEN_OFFHOST");

    toolstack = !getenv("PYXEN_OFFHOST_DAEMON");
    begun = toolstack && root;
    if (!toolstack)
        prctl(PR_SET_PDEATHSIG, SIGKILL); /* a test that ends its process ends what it has begun */
    if (root && *root && world_use(root))
        unanswered("PYXEN_OFFHOST: there is no pretended host in that folder", (unsigned long)errno, 0);
}

EXPORT int offhost_make(const char *root)
{
    return world_make(root);
}

EXPORT int offhost_use(const char *root)
{
    return world_use(root);
}

/* Each of these returns 0 or an errno, where nothing else is said. */

EXPORT int offhost_shut_down(unsigned domid, unsigned reason)
{
    world_lock();
    struct domain *domain = domain_of(domid);
    if (domain)
        domain_shut_down(domain, reason);
    world_unlock();
    return domain ? 0 : ESRCH;
}

EXPORT int offhost_set_nodes(uint32_t nodes)
{
    world_lock();
    world->nodes = nodes;
    world_unlock();
    return 0;
}

EXPORT void offhost_set_shadow_paging(int there)
{
    world_lock();
    world->no_shadow = !there;
    world_unlock();
}

EXPORT void offhost_set_hypfs(int there)
{
    world_lock();
    world->hypfs = there;
    strcpy(world->loglvl, "warning");
    world_unlock();
}

/* Puts in a domain that nobody has created, running and with memory that is only counted; its domid, or -errno. */
EXPORT int offhost_add(const uint8_t *handle, int hvm, uint32_t emulation, uint32_t vcpus, uint64_t pages, uint64_t max_pages)
{
    world_lock();
    struct domain *domain = domain_new(DOMID_INVALID);
    int domid = domain ? domain->domid : -errno;
    if (domain) {
        memcpy(domain->handle, handle, sizeof domain->handle);
        domain->flags = hvm ? XEN_DOMINF_hvm_guest | XEN_DOMINF_hap : 0;
        domain->emulation = emulation;
        domain->max_vcpus = domain->vcpus = vcpus;
        domain->online = vcpus >= 64 ? ~0ull : (1ull << vcpus) - 1;
        domain->address_size = 64;
        domain->max_pages = max_pages;
        domain->pages = pages;
    }
    world_unlock();
    return domid;
}

/* What a domain does: 0: it is there and has not shut down, 1: it has, -1: there is none. */
EXPORT int offhost_is_down(unsigned domid)
{
    world_lock();
    struct domain *domain = domain_of(domid);
    int state = !domain || domain->flags & XEN_DOMINF_dying ? -1 : !!(domain->flags & XEN_DOMINF_shutdown);
    world_unlock();
    return state;
}

EXPORT int offhost_remove(unsigned domid)
{
    world_lock();
    struct domain *domain = domid ? domain_of(domid) : NULL;
    if (domain)
        domain_remove(domain);
    world_unlock();
    return domain ? 0 : ESRCH;
}

EXPORT int offhost_linger(unsigned domid, int lingers)
{
    world_lock();
    struct domain *domain = domain_of(domid);
    if (domain)
        domain->lingers = lingers;
    world_unlock();
    return domain ? 0 : ESRCH;
}

EXPORT int offhost_set_param(unsigned domid, unsigned index, uint64_t value)
{
    world_lock();
    struct domain *domain = index < PARAMS ? domain_of(domid) : NULL;
    if (domain)
        domain->params[index] = value;
    world_unlock();
    return domain ? 0 : ESRCH;
}

EXPORT int offhost_set_memory(unsigned domid, uint64_t pages)
{
    world_lock();
    struct domain *domain = domain_of(domid);
    if (domain)
        domain->pages = pages;
    world_unlock();
    return domain ? 0 : ESRCH;
}

EXPORT int offhost_set_next_domid(unsigned domid)
{
    world_lock();
    world->next_domid = domid;
    world_unlock();
    return 0;
}

/* Gives a domain that was put in by a test what libxl's builder gives: a page for xenstore, granted to dom0. */
EXPORT int offhost_furnish(unsigned domid, uint64_t page, uint32_t *port_out)
{
    int error = ESRCH;

    world_lock();
    struct domain *domain = domain_of(domid);
    if (domain && domain->pages)
        domain->pages--; /* it is one of those that are only counted */
    if (domain && !(error = page_populate(domain, page, 1))) {
        uint64_t base = slot_of(domain) * SLOT_PAGES;
        grant_entry_v1_t entry = { GTF_permit_access, 0, (uint32_t)(is_hvm(domain) ? page : base + page) };
        off_t at = (off_t)((base + GRANTS_AT) * PAGE + GNTTAB_RESERVED_XENSTORE * sizeof entry);
        struct port *port = port_new(domid);
        if (pwrite(memory_fd, &entry, sizeof entry, at) != sizeof entry || !port) {
            error = ENOSPC;
        } else {
            port->state = UNBOUND;
            *port_out = port->number;
            domain->params[HVM_PARAM_STORE_PFN] = page;
            domain->params[HVM_PARAM_STORE_EVTCHN] = port->number;
        }
    }
    world_unlock();
    return error;
}

/* Where the page is that a guest has granted to dom0 by this reference, as an offset into the memory file; or -1. */
EXPORT int64_t offhost_granted(unsigned domid, uint32_t reference)
{
    world_lock();
    int64_t offset = granted_offset(domid, reference);
    world_unlock();
    return offset;
}

EXPORT int offhost_frame(unsigned domid, uint64_t frame, int64_t *offset)
{
    world_lock();
    struct domain *domain = domain_of(domid);
    *offset = domain ? frame_offset(domain, frame) : -1;
    world_unlock();
    return *offset < 0 ? EINVAL : 0;
}

/* For who is to stop a process that may hold the lock: then it is not stopped while it does. */
EXPORT void offhost_lock(void)
{
    world_lock();
}

EXPORT void offhost_unlock(void)
{
    world_unlock();
}

/* The guest's port whose other end xenstored has bound: looked for by what the guest's page was introduced with. */
EXPORT int offhost_guest_notify(unsigned domid, uint32_t number)
{
    world_lock();
    struct port *port = port_of(domid, number);
    if (port)
        port_send(port);
    world_unlock();
    return port ? 0 : ENOTCONN;
}

EXPORT uint64_t offhost_param(unsigned domid, unsigned index)
{
    world_lock();
    struct domain *domain = index < PARAMS ? domain_of(domid) : NULL;
    uint64_t value = domain ? domain->params[index] : 0;
    world_unlock();
    return value;
}

static struct counter *counter_of(unsigned class, unsigned op)
{
    return class == CLASSES ? &world->any : class < CLASSES && op < OPS ? &world->counters[class][op] : NULL;
}

EXPORT uint64_t offhost_count(unsigned class, unsigned op)
{
    world_lock();
    struct counter *counter = counter_of(class, op);
    uint64_t count = counter ? counter->count : 0;
    world_unlock();
    return count;
}

/* Makes calls fail: the nth from now (1: the next one), and those after it, as many as told. */
EXPORT int offhost_fail(unsigned class, unsigned op, uint64_t nth, uint64_t times, int error)
{
    world_lock();
    struct counter *counter = counter_of(class, op);
    if (counter) {
        counter->fail_from = counter->count + nth;
        counter->fail_until = counter->fail_from + times;
        counter->error = error;
    }
    world_unlock();
    return counter ? 0 : EINVAL;
}

EXPORT int offhost_fail_nothing(void)
{
    world_lock();
    world->any.fail_from = world->any.fail_until = 0;
    for (unsigned class = 0; class < CLASSES; class++)
        for (unsigned op = 0; op < OPS; op++)
            world->counters[class][op].fail_from = world->counters[class][op].fail_until = 0;
    world_unlock();
    return 0;
}

/* Makes the nth call of some kinds together fail; the calls are counted anew. */
EXPORT int offhost_sweep(uint32_t kinds, uint32_t how, int error, uint64_t nth)
{
    world_lock();
    world->sweep = (struct sweep){ .how = how, .error = error, .nth = nth };
    __atomic_store_n(&world->sweep.kinds, kinds, __ATOMIC_SEQ_CST);
    world_unlock();
    return 0;
}

/* Ends it. Returns how many calls there were; what failed goes into `what`, which has 64 bytes. */
EXPORT uint64_t offhost_swept(uint64_t *hits, int32_t *pid, char *what)
{
    world_lock();
    __atomic_store_n(&world->sweep.kinds, 0, __ATOMIC_SEQ_CST);
    *hits = world->sweep.hits;
    *pid = world->sweep.pid;
    memcpy(what, world->sweep.what, sizeof world->sweep.what);
    uint64_t count = world->sweep.count;
    world_unlock();
    return count;
}

EXPORT uint64_t offhost_calls(void)
{
    return world->calls;
}

/* The calls from number `first` on, at most `most`; how many. */
EXPORT unsigned offhost_log(uint64_t first, struct log_entry *entries, unsigned most)
{
    unsigned count = 0;

    world_lock();
    if (world->calls > LOG_LENGTH && first < world->calls - LOG_LENGTH)
        first = world->calls - LOG_LENGTH;
    for (; first + count < world->calls && count < most; count++)
        entries[count] = world->log[(first + count) % LOG_LENGTH];
    world_unlock();
    return count;
}

EXPORT uint64_t offhost_free_pages(void)
{
    world_lock();
    uint64_t pages = TOTAL_PAGES - pages_of_all();
    world_unlock();
    return pages;
}

EXPORT unsigned offhost_domids(uint16_t *domids)
{
    unsigned count = 0;
    struct domain *domain;

    world_lock();
    for (unsigned next = 0; next < DOMID_FIRST_RESERVED && (domain = domain_from(next)); next = domain->domid + 1u)
        domids[count++] = domain->domid;
    world_unlock();
    return count;
}

EXPORT unsigned offhost_ports(unsigned domid)
{
    unsigned count = 0;

    world_lock();
    ports_collect();
    for (struct port *port = world->ports; port < world->ports + world->ports_used; port++)
        count += port->state != FREE && port->owner == domid;
    world_unlock();
    return count;
}
