/* Fills a host with domains that have nothing but a name, and empties it again: Xen's and xenstore's side of a domain
 * without the seconds that building real ones would take.
 *
 *     empty_domains make COUNT      names them empty-1 ... and prints nothing
 *     empty_domains remove          removes all domains but dom0 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <xenctrl.h>
#include <xenstore.h>

#define MOST 1024

static int make(xc_interface *xch, struct xs_handle *xs, int number)
{
    struct xen_domctl_createdomain config = {
        .max_vcpus = 1,
        .max_evtchn_port = 1023,
        .max_grant_frames = 4,
        .grant_opts = XEN_DOMCTL_GRANT_version(1),
    };
    uint32_t domid = 0;
    char path[64], name[32];

    /* A uuid of its own, as every domain of a toolstack has. */
    config.handle[0] = 0xe0;
    config.handle[14] = number >> 8;
    config.handle[15] = number;
    if (xc_domain_create(xch, &domid, &config)) {
        perror("xc_domain_create");
        return 1;
    }
    snprintf(path, sizeof path, "/local/domain/%u/name", domid);
    snprintf(name, sizeof name, "empty-%d", number);
    return !xs_write(xs, XBT_NULL, path, name, strlen(name));
}

static int remove_all(xc_interface *xch, struct xs_handle *xs)
{
    static xc_domaininfo_t info[MOST];
    int count = xc_domain_getinfolist(xch, 1, MOST, info);
    char path[64];

    for (int i = 0; i < count; i++) {
        snprintf(path, sizeof path, "/local/domain/%u", info[i].domain);
        xs_rm(xs, XBT_NULL, path);
        if (xc_domain_destroy(xch, info[i].domain))
            return 1;
    }
    return count < 0;
}

int main(int argc, char **argv)
{
    xc_interface *xch = xc_interface_open(NULL, NULL, 0);
    struct xs_handle *xs = xs_open(0);

    if (!xch || !xs)
        return 1;
    if (argc == 2 && !strcmp(argv[1], "remove"))
        return remove_all(xch, xs);
    if (argc == 3 && !strcmp(argv[1], "make")) {
        for (int number = 1; number <= atoi(argv[2]); number++)
            if (make(xch, xs, number))
                return 1;
        return 0;
    }
    return 2;
}
