/* What control software asks about the host (XEN_SYSCTL_...): 4 CPUs, in one node or in two, 16 GiB, no extras. */
#include "world.h"

#include "cpu.h"

static const char console[] = "(XEN) This is no hypervisor, but a pretended one.\n";

static int physical(struct xen_sysctl_physinfo *info)
{
    memset(info, 0, sizeof *info);
    info->threads_per_core = 1;
    info->cores_per_socket = CPUS;
    info->nr_cpus = CPUS;
    info->max_cpu_id = CPUS - 1;
    info->nr_nodes = 1;
    info->cpu_khz = 2000000;
    info->capabilities = XEN_SYSCTL_PHYSCAP_hvm | XEN_SYSCTL_PHYSCAP_pv | XEN_SYSCTL_PHYSCAP_hap
                         | XEN_SYSCTL_PHYSCAP_gnttab_v1 | XEN_SYSCTL_PHYSCAP_gnttab_v2;
    if (!world->no_shadow)
        info->capabilities |= XEN_SYSCTL_PHYSCAP_shadow;
    info->total_pages = TOTAL_PAGES;
    info->free_pages = TOTAL_PAGES - pages_of_all();
    info->max_mfn = (uint64_t)SLOTS * SLOT_PAGES - 1;
    return 0;
}

static int topology(struct xen_sysctl_cputopoinfo *info)
{
    for (uint32_t cpu = 0; info->cputopo.p && cpu < info->num_cpus && cpu < CPUS; cpu++)
        info->cputopo.p[cpu] = (xen_sysctl_cputopo_t){ cpu, 0, cpu * world->nodes / CPUS };
    info->num_cpus = CPUS;
    return 0;
}

static int numa(struct xen_sysctl_numainfo *info)
{
    if (info->meminfo.p && info->num_nodes)
        info->meminfo.p[0] = (xen_sysctl_meminfo_t){ (uint64_t)TOTAL_PAGES * PAGE,
                                                     (TOTAL_PAGES - pages_of_all()) * PAGE };
    if (info->distance.p && info->num_nodes)
        info->distance.p[0] = 10;
    info->num_nodes = 1;
    return 0;
}

static int cpu_times(struct xen_sysctl_getcpuinfo *info)
{
    for (uint32_t cpu = 0; cpu < info->max_cpus && cpu < CPUS; cpu++)
        info->info.p[cpu].idletime = 1000000000ull * (cpu + 1);
    info->nr_cpus = info->max_cpus < CPUS ? info->max_cpus : CPUS;
    return 0;
}

static int heap(struct xen_sysctl_availheap *ask)
{
    ask->avail_bytes = (TOTAL_PAGES - pages_of_all()) * PAGE;
    return 0;
}

static int read_console(struct xen_sysctl_readconsole *op)
{
    uint32_t from = op->incremental && op->index < sizeof console ? op->index : 0;
    uint32_t length = (uint32_t)sizeof console - 1 - from;

    if (length > op->count)
        length = op->count;
    memcpy(op->buffer.p, console + from, length);
    op->index = from + length;
    op->count = length;
    return 0;
}

int do_sysctl(xen_sysctl_t *op)
{
    if (op->interface_version != XEN_SYSCTL_INTERFACE_VERSION)
        return EACCES;
    switch (op->cmd) {
    case XEN_SYSCTL_readconsole:
        return read_console(&op->u.readconsole);
    case XEN_SYSCTL_physinfo:
        return physical(&op->u.physinfo);
    case XEN_SYSCTL_sched_id:
        op->u.sched_id.sched_id = world->scheduler;
        return 0;
    case XEN_SYSCTL_getdomaininfolist:
        op->u.getdomaininfolist.num_domains
            = list_domains(op->u.getdomaininfolist.first_domain, op->u.getdomaininfolist.buffer.p,
                           op->u.getdomaininfolist.max_domains);
        return 0;
    case XEN_SYSCTL_debug_keys:
        return 0;
    case XEN_SYSCTL_getcpuinfo:
        return cpu_times(&op->u.getcpuinfo);
    case XEN_SYSCTL_availheap:
        return heap(&op->u.availheap);
    case XEN_SYSCTL_cputopoinfo:
        return topology(&op->u.cputopoinfo);
    case XEN_SYSCTL_numainfo:
        return numa(&op->u.numainfo);
    case XEN_SYSCTL_cpupool_op:
        return pool_op(&op->u.cpupool_op);
    case XEN_SYSCTL_scheduler_op:
        return pool_schedule(&op->u.scheduler_op);
    case XEN_SYSCTL_get_cpu_policy:
        return host_cpu_policy(&op->u.cpu_policy);
    case XEN_SYSCTL_get_cpu_featureset:
        return host_features(&op->u.cpu_featureset);
    case XEN_SYSCTL_get_cpu_levelling_caps:
        op->u.cpu_levelling_caps.caps = 0;
        return 0;
    case XEN_SYSCTL_get_pmstat:
    case XEN_SYSCTL_pm_op:
    case XEN_SYSCTL_psr_cmt_op:
    case XEN_SYSCTL_psr_alloc:
    case XEN_SYSCTL_pcitopoinfo:
    case XEN_SYSCTL_cpu_hotplug:
        return EOPNOTSUPP;
    default:
        unanswered("XEN_SYSCTL", op->cmd, 0);
    }
}
