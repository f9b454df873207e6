/* A hypercall, as it comes to the kernel: counted, made to fail where that is wished, and answered. */
#include "world.h"

#include <xen/event_channel.h>
#include <xen/hypfs.h>
#include <xen/hvm/hvm_op.h>
#include <xen/physdev.h>
#include <xen/sched.h>
#include <xen/sys/privcmd.h>
#include <xen/version.h>

static int answer(char *to, size_t room, const char *text)
{
    memset(to, 0, room);
    memcpy(to, text, strlen(text) + 1);
    return 0;
}

static const char extraversion[] = ".0-pretended";
static const char capabilities[] = "xen-3.0-x86_64 hvm-3.0-x86_32 hvm-3.0-x86_32p hvm-3.0-x86_64 ";
static const char changeset[] = "unavailable";
static const char commandline[] = "dom0_mem=1024M,max:1024M";

#ifdef XENVER_extraversion2
/* The newer way: without an argument it tells the size, and nothing ends the text. */
static long answer_sized(xen_varbuf_t *to, const char *text)
{
    size_t length = strlen(text);

    if (to && to->len < length)
        return -ENOBUFS;
    if (to)
        memcpy(to->buf, text, length);
    return (long)length;
}
#endif

static long do_version(unsigned op, void *argument)
{
    xen_compile_info_t *compiled = argument;
    xen_feature_info_t *features = argument;

    switch (op) {
    case XENVER_version:
        return 4 << 16 | XEN_MINOR;
    case XENVER_extraversion:
        return answer(argument, sizeof(xen_extraversion_t), extraversion);
    case XENVER_compile_info:
        memset(compiled, 0, sizeof *compiled);
        strcpy(compiled->compiler, "none");
        return 0;
    case XENVER_capabilities:
        return answer(argument, sizeof(xen_capabilities_info_t), capabilities);
    case XENVER_changeset:
        return answer(argument, sizeof(xen_changeset_info_t), changeset);
    case XENVER_platform_parameters:
        ((xen_platform_parameters_t *)argument)->virt_start = 0xffff800000000000;
        return 0;
    case XENVER_get_features:
        features->submap = 0;
        return features->submap_idx ? -EINVAL : 0;
    case XENVER_pagesize:
        return PAGE;
    case XENVER_commandline:
        return answer(argument, sizeof(xen_commandline_t), commandline);
    case XENVER_build_id:
        return -ENODATA;
#ifdef XENVER_extraversion2
    case XENVER_extraversion2:
        return answer_sized(argument, extraversion);
    case XENVER_capabilities2:
        return answer_sized(argument, capabilities);
    case XENVER_changeset2:
        return answer_sized(argument, changeset);
    case XENVER_commandline2:
        return answer_sized(argument, commandline);
#endif
    default:
        unanswered("XENVER", op, 0);
    }
}

static long do_events(unsigned op, void *argument)
{
    struct evtchn_alloc_unbound *unbound = argument;
    struct evtchn_status *status = argument;
    struct port *port;

    switch (op) {
    case EVTCHNOP_alloc_unbound:
        if (!domain_of(unbound->dom))
            return -ESRCH;
        if (!(port = port_new(unbound->dom == DOMID_SELF ? 0 : unbound->dom)))
            return -ENOSPC;
        port->state = UNBOUND;
        port->remote_domid = unbound->remote_dom == DOMID_SELF ? 0 : unbound->remote_dom;
        unbound->port = port->number;
        return 0;
    case EVTCHNOP_status:
        port = port_of(status->dom, status->port);
        if (!domain_of(status->dom))
            return -ESRCH;
        status->status = port ? EVTCHNSTAT_unbound : EVTCHNSTAT_closed;
        status->vcpu = 0;
        if (port && port->state == UNBOUND)
            status->u.unbound.dom = port->remote_domid;
        if (port && port->state == INTERDOMAIN) {
            status->status = EVTCHNSTAT_interdomain;
            status->u.interdomain.dom = world->ports[port->remote].owner;
            status->u.interdomain.port = world->ports[port->remote].number;
        }
        return 0;
    case EVTCHNOP_reset:
        return 0;
    default:
        unanswered("EVTCHNOP", op, 0);
    }
}

static long do_hvm(unsigned op, struct xen_hvm_param *param)
{
    struct domain *domain;

    if (op != HVMOP_set_param && op != HVMOP_get_param)
        unanswered("HVMOP", op, 0);
    domain = domain_of(param->domid);
    if (!domain)
        return -ESRCH;
    if (!is_hvm(domain) || param->index >= PARAMS)
        return -EINVAL;
    if (op == HVMOP_set_param)
        domain->params[param->index] = param->value;
    else
        param->value = domain->params[param->index];
    return 0;
}

static long do_sched(unsigned op, const struct sched_remote_shutdown *argument)
{
    struct domain *domain;

    if (op != SCHEDOP_remote_shutdown)
        unanswered("SCHEDOP", op, 0);
    domain = domain_of(argument->domain_id);
    if (!domain)
        return -ESRCH;
    domain_shut_down(domain, argument->reason);
    return 0;
}

static long do_physdev(unsigned op, void *argument)
{
    switch (op) {
    case PHYSDEVOP_map_pirq:
        ((physdev_map_pirq_t *)argument)->pirq = ((physdev_map_pirq_t *)argument)->index;
        return 0;
    case PHYSDEVOP_unmap_pirq:
        return 0;
    default:
        unanswered("PHYSDEVOP", op, 0);
    }
}

static long do_grants(unsigned op, void *argument)
{
    gnttab_query_size_t *size = argument;

    if (op != GNTTABOP_query_size)
        unanswered("GNTTABOP", op, 0);
    size->nr_frames = 1;
    size->max_nr_frames = GRANT_FRAMES;
    size->status = domain_of(size->dom) ? GNTST_okay : GNTST_bad_domain;
    return 0;
}

/* Xen's own file system, where it has one: a parameter, which is a text. */
static long do_hypfs(unsigned op, const char *path, size_t path_size, char *data, size_t size)
{
    static const char parameter[] = "/params/loglvl";
    xen_hypfs_direntry_t entry = {
        .type = XEN_HYPFS_TYPE_STRING,
        .content_len = (uint32_t)strlen(world->loglvl) + 1,
        .max_write_len = sizeof world->loglvl,
    };

    if (!world->hypfs)
        return -ENOSYS;
    if (op == XEN_HYPFS_OP_get_version)
        return 1;
    if (path_size != sizeof parameter || memcmp(path, parameter, sizeof parameter))
        return -ENOENT;
    switch (op) {
    case XEN_HYPFS_OP_read:
        if (size < sizeof entry)
            return -ENOBUFS;
        memcpy(data, &entry, sizeof entry);
        if (size < sizeof entry + entry.content_len)
            return -ENOBUFS;
        memcpy(data + sizeof entry, world->loglvl, entry.content_len);
        return 0;
    case XEN_HYPFS_OP_write_contents:
        if (!size || size > sizeof world->loglvl || data[size - 1])
            return -EINVAL;
        memcpy(world->loglvl, data, size);
        return 0;
    default:
        unanswered("XEN_HYPFS_OP", op, 0);
    }
}

static int counted(const privcmd_hypercall_t *call)
{
    const xen_domctl_t *domctl = (const void *)call->arg[0];
    const xen_sysctl_t *sysctl = (const void *)call->arg[0];
    unsigned op = (unsigned)call->arg[0];

    switch (call->op) {
    case __HYPERVISOR_domctl:
        return count_call(DOMCTL, domctl->cmd, domctl->domain);
    case __HYPERVISOR_sysctl:
        return count_call(SYSCTL, sysctl->cmd, -1);
    case __HYPERVISOR_memory_op:
        return count_call(MEMORY, op, -1);
    case __HYPERVISOR_event_channel_op:
        return count_call(EVTCHN, op, -1);
    case __HYPERVISOR_hvm_op:
        return count_call(HVM, op, ((const struct xen_hvm_param *)call->arg[1])->domid);
    case __HYPERVISOR_xen_version:
        return count_call(VERSION, op, -1);
    case __HYPERVISOR_sched_op:
        return count_call(SCHED, op, -1);
    case __HYPERVISOR_grant_table_op:
        return count_call(GRANT, op, -1);
    case __HYPERVISOR_physdev_op:
        return count_call(PHYSDEV, op, -1);
    case __HYPERVISOR_mmuext_op:
        return count_call(MMUEXT, 0, (int)call->arg[3]);
    case __HYPERVISOR_mmu_update:
        return count_call(MMU, 0, (int)call->arg[3]);
    case __HYPERVISOR_hypfs_op:
        return count_call(HYPFS, op, -1);
    case __HYPERVISOR_xsm_op:
        return count_call(XSM, 0, -1);
    default:
        unanswered("a hypercall", call->op, call->arg[0]);
    }
}

static long answered(const privcmd_hypercall_t *call)
{
    unsigned op = (unsigned)call->arg[0];

    switch (call->op) {
    case __HYPERVISOR_domctl:
        return -do_domctl((void *)call->arg[0]);
    case __HYPERVISOR_sysctl:
        return -do_sysctl((void *)call->arg[0]);
    case __HYPERVISOR_memory_op:
        return do_memory(op, (void *)call->arg[1]);
    case __HYPERVISOR_event_channel_op:
        return do_events(op, (void *)call->arg[1]);
    case __HYPERVISOR_hvm_op:
        return do_hvm(op, (void *)call->arg[1]);
    case __HYPERVISOR_xen_version:
        return do_version(op, (void *)call->arg[1]);
    case __HYPERVISOR_sched_op:
        return do_sched(op, (void *)call->arg[1]);
    case __HYPERVISOR_grant_table_op:
        return do_grants(op, (void *)call->arg[1]);
    case __HYPERVISOR_physdev_op:
        return do_physdev(op, (void *)call->arg[1]);
    case __HYPERVISOR_mmuext_op: /* no guest runs, so its page tables can be as they are */
    case __HYPERVISOR_mmu_update:
        return 0;
    case __HYPERVISOR_hypfs_op:
        return do_hypfs(op, (void *)call->arg[1], call->arg[2], (void *)call->arg[3], call->arg[4]);
    default:
        return -ENOSYS; /* XSM: Xen was built without */
    }
}

static long one(const privcmd_hypercall_t *call)
{
    int error = counted(call);

    return error ? -error : answered(call);
}

static long several(multicall_entry_t *entries, unsigned long count)
{
    for (unsigned long i = 0; i < count; i++) {
        privcmd_hypercall_t call = { .op = entries[i].op };
        memcpy(call.arg, entries[i].args, sizeof call.arg);
        entries[i].result = (xen_ulong_t)one(&call);
    }
    return 0;
}

long hypercall(const void *argument)
{
    privcmd_hypercall_t call;

    memcpy(&call, argument, sizeof call); /* who calls ioctl need not align it; the kernel copies it, too */
    world_lock();
    long result = call.op == __HYPERVISOR_multicall ? several((void *)call.arg[0], call.arg[1]) : one(&call);
    world_unlock();
    return result;
}
