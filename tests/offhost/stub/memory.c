/* XENMEM_...: frames of domains. */
#include "world.h"

#include <unistd.h>

/* A PV guest gets frames that lie side by side, and is told them; others get those that they name. */
static int place(struct domain *domain, uint64_t order_pages, xen_pfn_t *frame)
{
    uint64_t page = *frame;

    if (!is_hvm(domain))
        page = (domain->next_page + order_pages - 1) & ~(order_pages - 1);
    int error = page_populate(domain, page, order_pages);
    if (!error && !is_hvm(domain)) {
        domain->next_page = page + order_pages;
        *frame = slot_of(domain) * SLOT_PAGES + page;
    }
    return error;
}

static long reserve(unsigned op, struct xen_memory_reservation *wish)
{
    struct domain *domain = domain_of(wish->domid);
    uint64_t pages = 1ull << wish->extent_order, done = 0;

    if (!domain)
        return -ESRCH;
    if (op == XENMEM_claim_pages)
        return domain->pages > wish->nr_extents ? -EINVAL
               : wish->nr_extents && pages_of_all() + wish->nr_extents - domain->pages > TOTAL_PAGES ? -ENOMEM
                                                                                                     : 0;
    for (; done < wish->nr_extents; done++) {
        xen_pfn_t *frame = &wish->extent_start.p[done];
        if (op == XENMEM_decrease_reservation)
            page_release(domain, is_hvm(domain) ? *frame : *frame - slot_of(domain) * SLOT_PAGES, pages);
        else if (place(domain, pages, frame))
            break;
    }
    return (long)done;
}

static long highest(unsigned domid)
{
    struct domain *domain = domain_of(domid);

    if (!domain)
        return -ESRCH;
    if (!domain->domid)
        return DOM0_PAGES - 1;
    for (long word = SHARED_INFO_AT / 64; word >= 0; word--) {
        uint64_t bits = domain->populated[word];
        if (word == SHARED_INFO_AT / 64)
            bits &= ~(1ull << (SHARED_INFO_AT % 64));
        if (bits)
            return word * 64 + 63 - __builtin_clzll(bits);
    }
    return 0;
}

/* Lets a frame of a guest be elsewhere in it. */
static long move(struct domain *domain, uint64_t from, uint64_t to)
{
    uint8_t content[PAGE];
    uint64_t base = slot_of(domain) * SLOT_PAGES;

    if (!page_there(domain, from) || to >= USABLE_PAGES)
        return -EINVAL;
    if (pread(memory_fd, content, PAGE, (off_t)((base + from) * PAGE)) != PAGE)
        return -EIO;
    page_release(domain, from, 1);
    page_release(domain, to, 1);
    if (page_populate(domain, to, 1) || pwrite(memory_fd, content, PAGE, (off_t)((base + to) * PAGE)) != PAGE)
        return -ENOMEM;
    return 0;
}

static long add_to_physmap(const struct xen_add_to_physmap *wish)
{
    struct domain *domain = domain_of(wish->domid);

    if (!domain)
        return -ESRCH;
    /* The shared info page and grant frames are where they are; that a guest would see them there too, nobody tests. */
    if (wish->space == XENMAPSPACE_shared_info || wish->space == XENMAPSPACE_grant_table)
        return 0;
    if (wish->space == XENMAPSPACE_gmfn)
        return move(domain, wish->idx, wish->gpfn);
    unanswered("XENMEM_add_to_physmap", wish->space, wish->domid);
}

static long machine_map(struct xen_memory_map *map)
{
    const struct {
        uint64_t at, size;
        uint32_t type;
    } __attribute__((packed)) ram[] = { { 0, (uint64_t)TOTAL_PAGES * PAGE, 1 } };

    if (!map->nr_entries)
        return -EINVAL;
    memcpy(map->buffer.p, ram, sizeof ram);
    map->nr_entries = 1;
    return 0;
}

long do_memory(unsigned op, void *argument)
{
    struct domain *domain;
    struct xen_pod_target *target = argument;
    struct xen_reserved_device_memory_map *reserved = argument;

    switch (op) {
    case XENMEM_increase_reservation:
    case XENMEM_decrease_reservation:
    case XENMEM_populate_physmap:
    case XENMEM_claim_pages:
        return reserve(op, argument);
    case XENMEM_maximum_ram_page:
        return (long)SLOTS * SLOT_PAGES - 1;
    case XENMEM_current_reservation:
    case XENMEM_maximum_reservation:
        domain = domain_of(*(domid_t *)argument);
        return !domain ? -ESRCH : (long)(op == XENMEM_current_reservation ? domain->pages : domain->max_pages);
    case XENMEM_maximum_gpfn:
        return highest(*(domid_t *)argument);
    case XENMEM_add_to_physmap:
        return add_to_physmap(argument);
    case XENMEM_set_memory_map:
        return domain_of(((struct xen_foreign_memory_map *)argument)->domid) ? 0 : -ESRCH;
    case XENMEM_machine_memory_map:
        return machine_map(argument);
    case XENMEM_set_pod_target:
    case XENMEM_get_pod_target:
        domain = domain_of(target->domid);
        if (!domain)
            return -ESRCH;
        target->tot_pages = domain->pages;
        target->pod_cache_pages = target->pod_entries = 0;
        return 0;
    case XENMEM_get_sharing_freed_pages:
    case XENMEM_get_sharing_shared_pages:
        return 0;
    case XENMEM_reserved_device_memory_map:
        reserved->nr_entries = 0;
        return 0;
    case XENMEM_get_vnumainfo:
        return -EOPNOTSUPP;
    default:
        unanswered("XENMEM", op, 0);
    }
}
