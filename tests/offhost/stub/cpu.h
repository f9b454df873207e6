/* What a domain's CPUs are, and what is saved of them. */
#ifndef CPU_H
#define CPU_H

#include "world.h"

#include <xen/hvm/save.h>

void cpu_policy_default(struct domain *domain);
int cpu_policy(struct domain *domain, struct xen_domctl_cpu_policy *policy, bool set);
int host_cpu_policy(struct xen_sysctl_cpu_policy *policy);
int host_features(struct xen_sysctl_cpu_featureset *features);
int hvm_context(struct domain *domain, struct xen_domctl_hvmcontext *context, bool set);
int hvm_context_partial(struct domain *domain, struct xen_domctl_hvmcontext_partial *part);
int vcpu_context(struct domain *domain, struct xen_domctl_vcpucontext *context, bool set);
unsigned list_domains(unsigned first, struct xen_domctl_getdomaininfo *infos, unsigned most);

#endif
