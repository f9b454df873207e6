/* CPU pools and schedulers: credit, credit2 and rtds. */
#include "world.h"

enum { ALL_CPUS = (1 << CPUS) - 1, RTDS_LEAST_US = 10 };

void pools_make(struct world *made)
{
    made->pools[0] = (struct pool){ .sched = made->scheduler, .cpus = ALL_CPUS, .ratelimit_us = 1000 };
}

static struct pool *pool_of(uint32_t number)
{
    return number < POOLS && world->pools[number].sched ? &world->pools[number] : NULL;
}

static bool known(uint32_t sched)
{
    return sched == XEN_SCHEDULER_CREDIT || sched == XEN_SCHEDULER_CREDIT2 || sched == XEN_SCHEDULER_RTDS;
}

static uint32_t free_cpus(void)
{
    uint32_t free = ALL_CPUS;

    for (unsigned number = 0; number < POOLS; number++)
        free &= ~world->pools[number].cpus;
    return free;
}

static unsigned domains_in(uint32_t number)
{
    unsigned count = 0;
    struct domain *domain;

    for (unsigned next = 0; (domain = domain_from(next)); next = domain->domid + 1u)
        count += domain->cpupool == number;
    return count;
}

/* What a domain has that is new under a scheduler. */
void schedule_anew(struct domain *domain)
{
    domain->weight = 256;
    domain->cap = 0;
    for (unsigned vcpu = 0; vcpu < VCPUS; vcpu++)
        domain->rtds[vcpu]
            = (struct xen_domctl_sched_rtds){ .period = 10000, .budget = 4000, .flags = XEN_DOMCTL_SCHEDRT_extra };
    memset(domain->hard, 0xff, sizeof domain->hard);
    memset(domain->soft, 0xff, sizeof domain->soft);
}

static int create(struct xen_sysctl_cpupool_op *op)
{
    uint32_t number = op->cpupool_id;

    if (number == XEN_SYSCTL_CPUPOOL_PAR_ANY)
        for (number = 0; pool_of(number);)
            number++;
    if (pool_of(number))
        return EEXIST;
    if (number >= POOLS)
        return ENOMEM;
    if (!known(op->sched_id))
        return ENOENT;
    world->pools[number] = (struct pool){ .sched = op->sched_id, .tslice_ms = 30, .ratelimit_us = 1000 };
    op->cpupool_id = number;
    return 0;
}

static int destroy(uint32_t number)
{
    struct pool *pool = pool_of(number);

    if (!pool)
        return ENOENT;
    if (!number || pool->cpus || domains_in(number))
        return EBUSY;
    *pool = (struct pool){ 0 };
    return 0;
}

static void put_cpus(const struct xenctl_bitmap *map, uint32_t cpus)
{
    if (!map->bitmap.p || !map->nr_bits)
        return;
    memset(map->bitmap.p, 0, (map->nr_bits + 7) / 8);
    map->bitmap.p[0] = (uint8_t)cpus;
}

static int tell(struct xen_sysctl_cpupool_op *op)
{
    uint32_t number = op->cpupool_id;

    while (number < POOLS && !pool_of(number))
        number++;
    if (number >= POOLS)
        return ENOENT;
    op->cpupool_id = number;
    op->sched_id = world->pools[number].sched;
    op->n_dom = domains_in(number);
    put_cpus(&op->cpumap, world->pools[number].cpus);
    return 0;
}

static int add(uint32_t number, uint32_t cpu)
{
    struct pool *pool = pool_of(number);

    if (!pool)
        return ENOENT;
    if (cpu >= CPUS)
        return EINVAL;
    if (!(free_cpus() >> cpu & 1))
        return ENODEV;
    pool->cpus |= 1u << cpu;
    return 0;
}

static int take(uint32_t number, uint32_t cpu)
{
    struct pool *pool = pool_of(number);

    if (!pool)
        return ENOENT;
    if (cpu >= CPUS || !cpu)
        return EINVAL;
    if (!(pool->cpus >> cpu & 1))
        return ENODEV;
    if (pool->cpus == 1u << cpu && domains_in(number))
        return EBUSY;
    pool->cpus &= ~(1u << cpu);
    return 0;
}

static int move(uint32_t number, unsigned domid)
{
    struct domain *domain = domain_of(domid);
    struct pool *pool = pool_of(number);

    if (!domain || !domid)
        return EINVAL;
    if (!pool)
        return ENOENT;
    if (!pool->cpus)
        return ENODEV;
    if (domain->cpupool != number) {
        domain->cpupool = number;
        schedule_anew(domain);
    }
    return 0;
}

int pool_op(struct xen_sysctl_cpupool_op *op)
{
    switch (op->op) {
    case XEN_SYSCTL_CPUPOOL_OP_CREATE:
        return create(op);
    case XEN_SYSCTL_CPUPOOL_OP_DESTROY:
        return destroy(op->cpupool_id);
    case XEN_SYSCTL_CPUPOOL_OP_INFO:
        return tell(op);
    case XEN_SYSCTL_CPUPOOL_OP_ADDCPU:
        return add(op->cpupool_id, op->cpu);
    case XEN_SYSCTL_CPUPOOL_OP_RMCPU:
        return take(op->cpupool_id, op->cpu);
    case XEN_SYSCTL_CPUPOOL_OP_MOVEDOMAIN:
        return move(op->cpupool_id, op->domid);
    case XEN_SYSCTL_CPUPOOL_OP_FREEINFO:
        put_cpus(&op->cpumap, free_cpus());
        return 0;
    default:
        return ENOSYS;
    }
}

/* The parameters of a pool. */
int pool_schedule(struct xen_sysctl_scheduler_op *op)
{
    struct pool *pool = pool_of(op->cpupool_id);
    bool set = op->cmd == XEN_SYSCTL_SCHEDOP_putinfo;

    if (!pool)
        return ESRCH;
    if (op->sched_id != pool->sched)
        return EINVAL;
    switch (pool->sched) {
    case XEN_SCHEDULER_CREDIT:
        if (set) {
            pool->tslice_ms = op->u.sched_credit.tslice_ms;
            pool->ratelimit_us = op->u.sched_credit.ratelimit_us;
            pool->delay_us = op->u.sched_credit.vcpu_migr_delay_us;
        }
        op->u.sched_credit.tslice_ms = pool->tslice_ms;
        op->u.sched_credit.ratelimit_us = pool->ratelimit_us;
        op->u.sched_credit.vcpu_migr_delay_us = pool->delay_us;
        return 0;
    case XEN_SCHEDULER_CREDIT2:
        if (set)
            pool->ratelimit_us = op->u.sched_credit2.ratelimit_us;
        op->u.sched_credit2.ratelimit_us = pool->ratelimit_us;
        return 0;
    default:
        return ENOSYS;
    }
}

static bool refused(const struct xen_domctl_sched_rtds *wish)
{
    return wish->period < RTDS_LEAST_US || wish->budget < RTDS_LEAST_US || wish->budget > wish->period;
}

static int schedule_rtds(struct domain *domain, struct xen_domctl_scheduler_op *op)
{
    switch (op->cmd) {
    case XEN_DOMCTL_SCHEDOP_getinfo: /* Xen's defaults, since each vCPU has its own */
        op->u.rtds
            = (struct xen_domctl_sched_rtds){ .period = 10000, .budget = 4000, .flags = XEN_DOMCTL_SCHEDRT_extra };
        return 0;
    case XEN_DOMCTL_SCHEDOP_putinfo:
        if (refused(&op->u.rtds))
            return EINVAL;
        for (unsigned vcpu = 0; vcpu < domain->vcpus; vcpu++)
            domain->rtds[vcpu] = op->u.rtds;
        return 0;
    case XEN_DOMCTL_SCHEDOP_getvcpuinfo:
    case XEN_DOMCTL_SCHEDOP_putvcpuinfo:
        for (uint32_t i = 0; i < op->u.v.nr_vcpus; i++) {
            xen_domctl_schedparam_vcpu_t *each = &op->u.v.vcpus.p[i];
            if (each->vcpuid >= domain->vcpus)
                return EINVAL;
            if (op->cmd == XEN_DOMCTL_SCHEDOP_getvcpuinfo)
                each->u.rtds = domain->rtds[each->vcpuid];
            else if (refused(&each->u.rtds))
                return EINVAL;
            else
                domain->rtds[each->vcpuid] = each->u.rtds;
        }
        return 0;
    default:
        return EINVAL;
    }
}

/* The parameters of a domain. */
int schedule(struct domain *domain, struct xen_domctl_scheduler_op *op)
{
    struct pool *pool = pool_of(domain->cpupool);

    if (!pool || op->sched_id != pool->sched)
        return EINVAL;
    if (pool->sched == XEN_SCHEDULER_RTDS)
        return schedule_rtds(domain, op);
    /* credit and credit2 have the same parameters, and none for single vCPUs */
    switch (op->cmd) {
    case XEN_DOMCTL_SCHEDOP_getinfo:
        op->u.credit2.weight = domain->weight;
        op->u.credit2.cap = domain->cap;
        return 0;
    case XEN_DOMCTL_SCHEDOP_putinfo:
        if (op->u.credit2.weight)
            domain->weight = op->u.credit2.weight;
        if (op->u.credit2.cap != 65535)
            domain->cap = op->u.credit2.cap;
        return 0;
    default:
        return EINVAL;
    }
}
