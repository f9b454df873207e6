/* CPUID as Xen tells it of a plain 64-bit CPU, and the records in which a guest's CPUs are saved. */
#include "cpu.h"

enum { MOST_LEAVES = 256, MOST_MSRS = 4, RECORDS_ROOM = CONTEXT_ROOM, PV_CONTEXT = 8 << 10 };

static const xen_cpuid_leaf_t leaves[] = {
    { 0x0, XEN_CPUID_NO_SUBLEAF, 0xd, 0x756e6547, 0x6c65746e, 0x49656e69 },
    { 0x1, XEN_CPUID_NO_SUBLEAF, 0x000306c3, 0x00000800, 0x80202201, 0x178bfbff },
    { 0x2, XEN_CPUID_NO_SUBLEAF, 1, 0, 0, 0 },
    { 0x4, 0, 0, 0, 0, 0 },
    { 0x5, XEN_CPUID_NO_SUBLEAF, 0, 0, 0, 0 },
    { 0x6, XEN_CPUID_NO_SUBLEAF, 0, 0, 0, 0 },
    { 0x7, 0, 0, 0x00000281, 0, 0 },
    { 0xa, XEN_CPUID_NO_SUBLEAF, 0, 0, 0, 0 },
    { 0xd, 0, 0x7, 0x340, 0x340, 0 },
    { 0xd, 1, 0, 0, 0, 0 },
    { 0x80000000, XEN_CPUID_NO_SUBLEAF, 0x80000008, 0, 0, 0 },
    { 0x80000001, XEN_CPUID_NO_SUBLEAF, 0, 0, 0x1, 0x28100800 },
    { 0x80000007, XEN_CPUID_NO_SUBLEAF, 0, 0, 0, 0 },
    { 0x80000008, XEN_CPUID_NO_SUBLEAF, 0x3030, 0, 0, 0 },
};

enum { KNOWN = sizeof leaves / sizeof *leaves, LEAVES = 104 };

/* libxenguest writes its answer into the room of what it was told, so it is told as much as a real Xen tells of a CPU
 * with many caches and states: the last leaf stands there many times. */
static const xen_cpuid_leaf_t *all_leaves(void)
{
    static xen_cpuid_leaf_t all[LEAVES]; /* under the lock */

    for (unsigned i = 0; i < LEAVES; i++)
        all[i] = leaves[i < KNOWN ? i : KNOWN - 1];
    return all;
}

void cpu_policy_default(struct domain *domain)
{
    memcpy(domain->policy, all_leaves(), LEAVES * sizeof *leaves);
    domain->leaves = LEAVES;
}

static int tell(const void *from, uint32_t count, void *to, uint32_t *room, size_t size, uint32_t most)
{
    if (!to) {
        *room = most;
        return 0;
    }
    if (*room < count)
        return ENOBUFS;
    memcpy(to, from, count * size);
    *room = count;
    return 0;
}

int cpu_policy(struct domain *domain, struct xen_domctl_cpu_policy *policy, bool set)
{
    if (!set) {
        policy->nr_msrs = policy->msrs.p ? 0 : MOST_MSRS;
        return tell(domain->policy, domain->leaves, policy->leaves.p, &policy->nr_leaves, sizeof *leaves, MOST_LEAVES);
    }
    if (policy->nr_leaves > MOST_LEAVES)
        return E2BIG;
    memcpy(domain->policy, policy->leaves.p, policy->nr_leaves * sizeof *leaves);
    domain->leaves = policy->nr_leaves;
    domain->msrs = policy->nr_msrs;
    return 0;
}

int host_cpu_policy(struct xen_sysctl_cpu_policy *policy)
{
    policy->nr_msrs = policy->msrs.p ? 0 : MOST_MSRS;
    return tell(all_leaves(), LEAVES, policy->leaves.p, &policy->nr_leaves, sizeof *leaves, MOST_LEAVES);
}

int host_features(struct xen_sysctl_cpu_featureset *features)
{
    enum { WORDS = 32 };

    if (!features->features.p) {
        features->nr_features = WORDS;
        return 0;
    }
    memset(features->features.p, 0, features->nr_features * sizeof(uint32_t));
    const uint32_t known[] = { leaves[1].d, leaves[1].c, leaves[11].d, leaves[11].c };
    for (uint32_t word = 0; word < features->nr_features && word < sizeof known / sizeof *known; word++)
        features->features.p[word] = known[word];
    return 0;
}

/* Saved CPUs of guests with hardware support: what was set last, or records as those of CPUs that have just begun. */

static uint8_t *record(uint8_t *at, uint16_t type, uint16_t instance, uint32_t length)
{
    *(struct hvm_save_descriptor *)at = (struct hvm_save_descriptor){ type, instance, length };
    memset(at + sizeof(struct hvm_save_descriptor), 0, length);
    return at + sizeof(struct hvm_save_descriptor) + length;
}

static uint32_t records(const struct domain *domain, uint8_t *room)
{
    uint8_t *at = record(room, HVM_SAVE_CODE(HEADER), 0, HVM_SAVE_LENGTH(HEADER));
    struct hvm_save_header *header = (void *)(room + sizeof(struct hvm_save_descriptor));
    /* Of each CPU only the first's are told: what many CPUs would need has no room. */
    unsigned vcpus = domain->vcpus < 16 ? domain->vcpus : 16;

    header->magic = HVM_FILE_MAGIC;
    header->version = HVM_FILE_VERSION;
    for (uint16_t vcpu = 0; vcpu < vcpus; vcpu++)
        at = record(at, HVM_SAVE_CODE(CPU), vcpu, HVM_SAVE_LENGTH(CPU));
    for (uint16_t vcpu = 0; vcpu < vcpus; vcpu++)
        at = record(at, HVM_SAVE_CODE(MTRR), vcpu, HVM_SAVE_LENGTH(MTRR));
    at = record(at, HVM_SAVE_CODE(END), 0, HVM_SAVE_LENGTH(END));
    return (uint32_t)(at - room);
}

int hvm_context(struct domain *domain, struct xen_domctl_hvmcontext *context, bool set)
{
    static uint8_t room[RECORDS_ROOM]; /* under the lock */

    if (!is_hvm(domain))
        return EINVAL;
    if (set) {
        if (context->size > CONTEXT_ROOM || context->size < sizeof(struct hvm_save_descriptor))
            return EINVAL;
        memcpy(domain->context, context->buffer.p, context->size);
        domain->context_length = context->size;
        domain->online |= 1;
        return 0;
    }
    const uint8_t *from = domain->context;
    uint32_t length = domain->context_length;
    if (!length) {
        length = records(domain, room);
        from = room;
    }
    if (context->buffer.p && context->size < length)
        return ENOSPC;
    if (context->buffer.p)
        memcpy(context->buffer.p, from, length);
    context->size = length;
    return 0;
}

int hvm_context_partial(struct domain *domain, struct xen_domctl_hvmcontext_partial *part)
{
    static uint8_t room[RECORDS_ROOM];
    uint32_t length = records(domain, room);

    for (uint32_t at = 0; at < length;) {
        const struct hvm_save_descriptor *descriptor = (void *)(room + at);
        if (descriptor->typecode == part->type && descriptor->instance == part->instance) {
            if (part->bufsz < descriptor->length)
                return ENOSPC;
            memcpy(part->buffer.p, descriptor + 1, descriptor->length);
            part->bufsz = descriptor->length;
            return 0;
        }
        at += (uint32_t)sizeof *descriptor + descriptor->length;
    }
    return ENOENT;
}

int vcpu_context(struct domain *domain, struct xen_domctl_vcpucontext *context, bool set)
{
    vcpu_guest_context_t *kept = (void *)(domain->context + context->vcpu * PV_CONTEXT);

    if (is_hvm(domain) || context->vcpu >= domain->vcpus)
        return EINVAL;
    if (context->vcpu >= CONTEXT_ROOM / PV_CONTEXT)
        return set ? 0 : EINVAL;
    if (set)
        memcpy(kept, context->ctxt.p, sizeof *kept);
    else
        memcpy(context->ctxt.p, kept, sizeof *kept);
    return 0;
}
