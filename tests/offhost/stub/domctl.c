/* What control software asks about one domain (XEN_DOMCTL_...), but for its CPUID and its saved CPUs. */
#include "world.h"

#include "cpu.h"

static void tell(const struct domain *domain, struct xen_domctl_getdomaininfo *info)
{
    memset(info, 0, sizeof *info);
    info->domain = domain->domid;
    info->flags = domain->flags;
    if (domain->paused)
        info->flags |= XEN_DOMINF_paused;
    else if (!(domain->flags & (XEN_DOMINF_dying | XEN_DOMINF_shutdown | XEN_DOMINF_running)))
        info->flags |= XEN_DOMINF_blocked;
    info->tot_pages = domain->pages;
    info->max_pages = domain->max_pages;
    info->shared_info_frame = slot_of(domain) * SLOT_PAGES + SHARED_INFO_AT;
    for (unsigned vcpu = 0; vcpu < domain->vcpus; vcpu++)
        info->nr_online_vcpus += domain->online >> (vcpu < 63 ? vcpu : 63) & 1;
    info->max_vcpu_id = domain->vcpus - 1; /* XEN_INVALID_MAX_VCPU_ID where there are none */
    info->cpu_time = 1000000000ull * (domain->domid + 1u);
    info->ssidref = domain->ssidref;
    memcpy(info->handle, domain->handle, sizeof info->handle);
    info->cpupool = domain->cpupool;
    info->gpaddr_bits = 48;
    info->arch_config.emulation_flags = domain->emulation;
}

unsigned list_domains(unsigned first, struct xen_domctl_getdomaininfo *infos, unsigned most)
{
    unsigned count = 0;
    struct domain *domain;

    for (; count < most && first < DOMID_FIRST_RESERVED && (domain = domain_from(first)); count++) {
        tell(domain, &infos[count]);
        first = domain->domid + 1u;
    }
    return count;
}

static int create(xen_domctl_t *op)
{
    const struct xen_domctl_createdomain *wish = &op->u.createdomain;

    if (!wish->max_vcpus || wish->max_vcpus > VCPUS)
        return EINVAL;
    struct domain *domain = domain_new(op->domain);
    if (!domain)
        return errno;
    domain->created_with = wish->flags;
    domain->flags = wish->flags & XEN_DOMCTL_CDF_hvm ? XEN_DOMINF_hvm_guest : 0;
    if (wish->flags & XEN_DOMCTL_CDF_hap)
        domain->flags |= XEN_DOMINF_hap;
    if (wish->flags & XEN_DOMCTL_CDF_xs_domain)
        domain->flags |= XEN_DOMINF_xs_domain;
    domain->paused = 1;
    memcpy(domain->handle, wish->handle, sizeof domain->handle);
    domain->emulation = wish->arch.emulation_flags;
    domain->ssidref = wish->ssidref;
    domain->cpupool = wish->cpupool_id;
    schedule_anew(domain);
    domain->max_vcpus = wish->max_vcpus;
    domain->address_size = 64;
    cpu_policy_default(domain);
    op->domain = domain->domid;
    return 0;
}

static int destroy(struct domain *domain)
{
    if (!domain->domid)
        return EINVAL;
    if (domain->lingers) {
        if (!(domain->flags & XEN_DOMINF_dying)) {
            domain->flags |= XEN_DOMINF_dying;
            virq_send(VIRQ_DOM_EXC);
        }
    } else {
        domain_remove(domain);
    }
    return 0;
}

static int set_paused(struct domain *domain, bool more)
{
    if (!domain->domid || (!more && !domain->paused))
        return EINVAL;
    domain->paused += more ? 1 : -1u;
    return 0;
}

/* Affinities are 64 bits here; there are fewer CPUs. */

static uint64_t bits_of(const struct xenctl_bitmap *bitmap)
{
    uint64_t bits = 0;

    memcpy(&bits, bitmap->bitmap.p, bitmap->nr_bits >= 64 ? 8 : (bitmap->nr_bits + 7) / 8);
    return bits;
}

static void set_bits(const struct xenctl_bitmap *bitmap, uint64_t bits)
{
    size_t bytes = (bitmap->nr_bits + 7) / 8;

    if (!bitmap->bitmap.p)
        return;
    memset(bitmap->bitmap.p, 0, bytes);
    memcpy(bitmap->bitmap.p, &bits, bytes < sizeof bits ? bytes : sizeof bits);
}

static int affinity(struct domain *domain, struct xen_domctl_vcpuaffinity *wish, bool set)
{
    const uint64_t there = world->pools[domain->cpupool].cpus;

    if (wish->vcpu >= domain->vcpus)
        return ESRCH;
    uint64_t *hard = &domain->hard[wish->vcpu], *soft = &domain->soft[wish->vcpu];
    if (set && wish->flags & XEN_VCPUAFFINITY_HARD) {
        uint64_t bits = bits_of(&wish->cpumap_hard);
        if (!(bits & there))
            return EINVAL;
        *hard = bits;
    }
    if (set && wish->flags & XEN_VCPUAFFINITY_SOFT)
        *soft = bits_of(&wish->cpumap_soft);
    if (wish->flags & XEN_VCPUAFFINITY_HARD)
        set_bits(&wish->cpumap_hard, set ? *hard & there : *hard);
    if (wish->flags & XEN_VCPUAFFINITY_SOFT)
        set_bits(&wish->cpumap_soft, set ? *soft & *hard & there : *soft);
    return 0;
}

static int shadow(struct domain *domain, struct xen_domctl_shadow_op *op)
{
    switch (op->op) {
    case XEN_DOMCTL_SHADOW_OP_OFF:
    case XEN_DOMCTL_SHADOW_OP_ENABLE:
    case XEN_DOMCTL_SHADOW_OP_ENABLE_LOGDIRTY:
        return 0;
    case XEN_DOMCTL_SHADOW_OP_GET_ALLOCATION:
        op->mb = (uint32_t)domain->shadow_mb;
        return 0;
    case XEN_DOMCTL_SHADOW_OP_SET_ALLOCATION:
        domain->shadow_mb = op->mb;
        return 0;
    case XEN_DOMCTL_SHADOW_OP_CLEAN: /* no guest runs, so nothing is ever dirty */
    case XEN_DOMCTL_SHADOW_OP_PEEK:
        if (op->dirty_bitmap.p)
            memset(op->dirty_bitmap.p, 0, (op->pages + 7) / 8);
        op->stats.fault_count = op->stats.dirty_count = 0;
        return 0;
    default:
        unanswered("XEN_DOMCTL_shadow_op", op->op, domain->domid);
    }
}

static int page_types(struct domain *domain, struct xen_domctl_getpageframeinfo3 *ask)
{
    for (uint64_t i = 0; i < ask->num; i++)
        ask->array.p[i] = frame_offset(domain, ask->array.p[i]) < 0 ? XEN_DOMCTL_PFINFO_XTAB : XEN_DOMCTL_PFINFO_NOTAB;
    return 0;
}

static int vcpu_info(struct domain *domain, struct xen_domctl_getvcpuinfo *info)
{
    if (info->vcpu >= domain->vcpus)
        return ESRCH;
    info->online = domain->online >> (info->vcpu < 63 ? info->vcpu : 63) & 1;
    info->blocked = 1;
    info->running = 0;
    info->cpu_time = 1000000000ull * (domain->domid + 1u) / (domain->vcpus ? domain->vcpus : 1);
    info->cpu = info->vcpu % CPUS;
    return 0;
}

static int set_vcpus(struct domain *domain, unsigned count)
{
    if (count > domain->max_vcpus || (domain->vcpus && domain->vcpus != count))
        return EINVAL;
    domain->vcpus = count;
    domain->online = is_hvm(domain) ? 1 : count >= 64 ? ~0ull : (1ull << count) - 1;
    return 0;
}

static int tsc(struct domain *domain, struct xen_domctl_tsc_info *info, bool set)
{
    if (set) {
        domain->tsc_mode = info->tsc_mode;
        domain->tsc_khz = info->gtsc_khz;
        domain->tsc_incarnation = info->incarnation;
        domain->tsc_nsec = info->elapsed_nsec;
    } else {
        info->tsc_mode = domain->tsc_mode;
        info->gtsc_khz = domain->tsc_khz;
        info->incarnation = domain->tsc_incarnation;
        info->elapsed_nsec = domain->tsc_nsec;
    }
    return 0;
}

static int soft_reset(struct domain *domain)
{
    if (!(domain->flags & XEN_DOMINF_shutdown))
        return EINVAL;
    for (struct port *port = world->ports; port < world->ports + world->ports_used; port++)
        if (port->state != FREE && port->owner == domain->domid)
            port_close(port);
    domain->flags &= XEN_DOMINF_hvm_guest | XEN_DOMINF_hap | XEN_DOMINF_xs_domain;
    domain->paused = 1;
    memset(domain->params, 0, sizeof domain->params);
    return 0;
}

static int memory(xen_domctl_t *op, struct domain *domain)
{
    switch (op->cmd) {
    case XEN_DOMCTL_max_mem:
        domain->max_pages = op->u.max_mem.max_memkb / (PAGE / 1024);
        return 0;
    case XEN_DOMCTL_shadow_op:
        return shadow(domain, &op->u.shadow_op);
    case XEN_DOMCTL_get_paging_mempool_size:
        op->u.paging_mempool.size = domain->paging_bytes;
        return 0;
    case XEN_DOMCTL_set_paging_mempool_size:
        domain->paging_bytes = op->u.paging_mempool.size;
        return 0;
    case XEN_DOMCTL_getpageframeinfo3:
        return page_types(domain, &op->u.getpageframeinfo3);
    default:
        return -1;
    }
}

static int passthrough(const xen_domctl_t *op)
{
    switch (op->cmd) {
    case XEN_DOMCTL_irq_permission:
    case XEN_DOMCTL_iomem_permission:
    case XEN_DOMCTL_ioport_permission:
    case XEN_DOMCTL_memory_mapping:
    case XEN_DOMCTL_ioport_mapping:
        return 0;
    case XEN_DOMCTL_assign_device:
    case XEN_DOMCTL_test_assign_device:
    case XEN_DOMCTL_deassign_device:
    case XEN_DOMCTL_get_device_group:
    case XEN_DOMCTL_bind_pt_irq:
    case XEN_DOMCTL_unbind_pt_irq:
    case XEN_DOMCTL_psr_cmt_op:
    case XEN_DOMCTL_psr_alloc:
    case XEN_DOMCTL_vuart_op:
    case XEN_DOMCTL_vmtrace_op:
#ifdef XEN_DOMCTL_set_llc_colors
    case XEN_DOMCTL_set_llc_colors:
    case XEN_DOMCTL_gsi_permission:
#endif
        return EOPNOTSUPP; /* this machine has neither IOMMU nor any such extras */
    default:
        return -1;
    }
}

static int cpus(xen_domctl_t *op, struct domain *domain)
{
    switch (op->cmd) {
    case XEN_DOMCTL_max_vcpus:
        return set_vcpus(domain, op->u.max_vcpus.max);
    case XEN_DOMCTL_getvcpuinfo:
        return vcpu_info(domain, &op->u.getvcpuinfo);
    case XEN_DOMCTL_setvcpuaffinity:
    case XEN_DOMCTL_getvcpuaffinity:
        return affinity(domain, &op->u.vcpuaffinity, op->cmd == XEN_DOMCTL_setvcpuaffinity);
    case XEN_DOMCTL_setnodeaffinity:
        domain->nodes = bits_of(&op->u.nodeaffinity.nodemap);
        return 0;
    case XEN_DOMCTL_getnodeaffinity:
        set_bits(&op->u.nodeaffinity.nodemap, domain->nodes & 1);
        return 0;
    case XEN_DOMCTL_scheduler_op:
        return schedule(domain, &op->u.scheduler_op);
    case XEN_DOMCTL_get_cpu_policy:
    case XEN_DOMCTL_set_cpu_policy:
        return cpu_policy(domain, &op->u.cpu_policy, op->cmd == XEN_DOMCTL_set_cpu_policy);
    case XEN_DOMCTL_gethvmcontext:
    case XEN_DOMCTL_sethvmcontext:
        return hvm_context(domain, &op->u.hvmcontext, op->cmd == XEN_DOMCTL_sethvmcontext);
    case XEN_DOMCTL_gethvmcontext_partial:
        return hvm_context_partial(domain, &op->u.hvmcontext_partial);
    case XEN_DOMCTL_getvcpucontext:
    case XEN_DOMCTL_setvcpucontext:
        return vcpu_context(domain, &op->u.vcpucontext, op->cmd == XEN_DOMCTL_setvcpucontext);
    case XEN_DOMCTL_settscinfo:
    case XEN_DOMCTL_gettscinfo:
        return tsc(domain, &op->u.tsc_info, op->cmd == XEN_DOMCTL_settscinfo);
    default:
        return -1;
    }
}

int do_domctl(xen_domctl_t *op)
{
    if (op->interface_version != XEN_DOMCTL_INTERFACE_VERSION)
        return EACCES;
    if (op->cmd == XEN_DOMCTL_createdomain)
        return create(op);
    struct domain *domain = op->domain < DOMID_FIRST_RESERVED ? domain_of(op->domain) : NULL;
#if XEN_MINOR < 18
    if (!domain && op->cmd == XEN_DOMCTL_getdomaininfo && op->domain < DOMID_FIRST_RESERVED)
        domain = domain_from(op->domain); /* old Xen tells of the next one then */
#endif
    if (!domain)
        return ESRCH;
    op->domain = domain->domid;
    switch (op->cmd) {
    case XEN_DOMCTL_destroydomain:
        return destroy(domain);
    case XEN_DOMCTL_pausedomain:
    case XEN_DOMCTL_unpausedomain:
        return set_paused(domain, op->cmd == XEN_DOMCTL_pausedomain);
    case XEN_DOMCTL_resumedomain:
        domain->flags &= ~(unsigned)(XEN_DOMINF_shutdown | XEN_DOMINF_shutdownmask << XEN_DOMINF_shutdownshift);
        return 0;
    case XEN_DOMCTL_soft_reset:
        return soft_reset(domain);
    case XEN_DOMCTL_getdomaininfo:
        tell(domain, &op->u.getdomaininfo);
        return 0;
    case XEN_DOMCTL_setdomainhandle:
        memcpy(domain->handle, op->u.setdomainhandle.handle, sizeof domain->handle);
        return 0;
    case XEN_DOMCTL_settimeoffset:
        domain->time_offset = (int32_t)op->u.settimeoffset.time_offset_seconds;
        return 0;
    case XEN_DOMCTL_set_target:
        domain->target = op->u.set_target.target;
        return 0;
    case XEN_DOMCTL_set_address_size:
        domain->address_size = op->u.address_size.size;
        return 0;
    case XEN_DOMCTL_get_address_size:
        op->u.address_size.size = domain->address_size;
        return 0;
    case XEN_DOMCTL_sendtrigger:
        return is_hvm(domain) ? 0 : EINVAL;
    case XEN_DOMCTL_subscribe:
    case XEN_DOMCTL_hypercall_init:
    case XEN_DOMCTL_setvnumainfo:
    case XEN_DOMCTL_set_access_required:
    case XEN_DOMCTL_cacheflush:
        return 0;
    default: {
        int error = memory(op, domain);
        if (error < 0)
            error = cpus(op, domain);
        if (error < 0)
            error = passthrough(op);
        if (error < 0)
            unanswered("XEN_DOMCTL", op->cmd, op->domain);
        return error;
    }
    }
}
