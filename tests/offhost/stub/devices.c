/* /dev/xen/privcmd, gntdev and evtchn: descriptors of the memory file and of FIFOs, and what ioctl does with them. */
#include "devices.h"
#include "faults.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <stdarg.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <xen/sys/evtchn.h>
#include <xen/sys/gntdev.h>
#include <xen/sys/privcmd.h>

enum { DESCRIPTORS = 4096 };

/* By descriptor: the FIFO that was opened there, and its inode, since descriptors are used again. */
static struct {
    uint32_t fifo;
    ino_t inode;
} events[DESCRIPTORS];

static ino_t xenstore[DESCRIPTORS];
static ssize_t xenstore_send(int fd, const struct iovec *pieces, int count, int flags);

static ino_t inode_of(int fd)
{
    struct stat status;

    return fstat(fd, &status) ? 0 : status.st_ino;
}

int count_now(enum class class, unsigned op, int domid)
{
    world_lock();
    int error = count_call(class, op, domid);
    world_unlock();
    return error;
}

static int failed(int error)
{
    errno = error;
    return -1;
}

#define REAL(name)                       \
    static __typeof__(&name) real;       \
    if (!real)                           \
    real = (__typeof__(real))dlsym(RTLD_NEXT, #name)

/* Event channels. */

int events_opened(int fd)
{
    char path[ROOT_ROOM + 32];
    int flags = fcntl(fd, F_GETFL), closes = fcntl(fd, F_GETFD);

    close(fd);
    world_lock();
    uint32_t fifo = ++world->next_fifo;
    world_unlock();
    snprintf(path, sizeof path, "%s/events/%u", world->root, fifo);
    if (mkfifo(path, 0600))
        return -1;
    fd = openat(AT_FDCWD, path, O_RDWR | (flags & O_NONBLOCK) | (closes & FD_CLOEXEC ? O_CLOEXEC : 0));
    if (fd >= DESCRIPTORS) {
        close(fd);
        return failed(EMFILE);
    }
    if (fd >= 0) {
        events[fd].fifo = fifo;
        events[fd].inode = inode_of(fd);
    }
    return fd;
}

static uint32_t fifo_of(int fd)
{
    if (fd < 0 || fd >= DESCRIPTORS || !events[fd].fifo)
        return 0;
    if (inode_of(fd) != events[fd].inode)
        events[fd].fifo = 0;
    return events[fd].fifo;
}

static int event_ioctl(uint32_t fifo, unsigned long request, void *argument)
{
    const struct ioctl_evtchn_bind_virq *virq = argument;
    const struct ioctl_evtchn_bind_interdomain *other = argument;
    const struct ioctl_evtchn_bind_unbound_port *unbound = argument;
    const struct ioctl_evtchn_notify *number = argument; /* and that of unbind */
    struct port *port;
    int error;

    switch (request) {
    case IOCTL_EVTCHN_BIND_VIRQ:
        if ((error = count_call(DEVICE, BIND_VIRQ, 0)))
            return -error;
        ports_collect();
        for (port = world->ports; port < world->ports + world->ports_used; port++)
            if (port->state == VIRQ && port->virq == virq->virq)
                return -EEXIST;
        if (!(port = port_new(0)))
            return -ENOSPC;
        port->state = VIRQ;
        port->virq = virq->virq;
        port->fifo = fifo;
        return (int)port->number;
    case IOCTL_EVTCHN_BIND_INTERDOMAIN:
        if ((error = count_call(DEVICE, BIND_INTERDOMAIN, (int)other->remote_domain)))
            return -error;
        return port_bind(0, other->remote_domain, other->remote_port, fifo);
    case IOCTL_EVTCHN_BIND_UNBOUND_PORT:
        if ((error = count_call(DEVICE, BIND_UNBOUND, (int)unbound->remote_domain)))
            return -error;
        if (!(port = port_new(0)))
            return -ENOSPC;
        port->state = UNBOUND;
        port->remote_domid = (uint16_t)unbound->remote_domain;
        port->fifo = fifo;
        return (int)port->number;
    case IOCTL_EVTCHN_UNBIND:
        if ((error = count_call(DEVICE, UNBIND, 0)))
            return -error;
        if (!(port = port_of(0, number->port)))
            return -ENOTCONN;
        port_close(port);
        return 0;
    case IOCTL_EVTCHN_NOTIFY:
        if ((error = count_call(DEVICE, NOTIFY, 0)))
            return -error;
        if (!(port = port_of(0, number->port)))
            return -ENOTCONN;
        port_send(port);
        return 0;
    default:
        unanswered("an ioctl of /dev/xen/evtchn", _IOC_NR(request), 0);
    }
}

static bool is_xenstore(int fd)
{
    return world && fd >= 0 && fd < DESCRIPTORS && xenstore[fd] && xenstore[fd] == inode_of(fd);
}

EXPORT ssize_t write(int fd, const void *data, size_t size)
{
    REAL(write);
    if (world && size == sizeof(evtchn_port_t) && fifo_of(fd))
        return (ssize_t)size; /* a port is unmasked, which it always is */
    if (is_xenstore(fd))
        return xenstore_send(fd, &(struct iovec){ (void *)data, size }, 1, 0);
    return file_fails(fd, "write") ? -1 : real(fd, data, size);
}

/* What a process says to xenstored and hears of it. */

void xenstore_connected(int fd)
{
    if (fd >= 0 && fd < DESCRIPTORS) {
        xenstore[fd] = inode_of(fd);
        conversation_begins(fd);
    }
}

ssize_t real_sendmsg(int fd, const struct msghdr *message, int flags)
{
    static __typeof__(&sendmsg) real;
    if (!real)
        real = (__typeof__(real))dlsym(RTLD_NEXT, "sendmsg");
    return real(fd, message, flags);
}

static ssize_t xenstore_send(int fd, const struct iovec *pieces, int count, int flags)
{
    int error = count_now(XENSTORE, SEND, -1);
    return error ? failed(error) : conversation_send(fd, pieces, count, flags);
}

static ssize_t xenstore_received(void *data, ssize_t size)
{
    conversation_heard(data, size);
    return size;
}

EXPORT ssize_t read(int fd, void *data, size_t size)
{
    REAL(read);
    if (!is_xenstore(fd))
        return file_fails(fd, "read") ? -1 : real(fd, data, size);
    int error = count_now(XENSTORE, RECEIVE, -1);
    return error ? failed(error) : xenstore_received(data, real(fd, data, size));
}

EXPORT ssize_t recv(int fd, void *data, size_t size, int flags)
{
    REAL(recv);
    if (!is_xenstore(fd))
        return real(fd, data, size, flags);
    int error = count_now(XENSTORE, RECEIVE, -1);
    return error ? failed(error) : xenstore_received(data, real(fd, data, size, flags));
}

EXPORT ssize_t send(int fd, const void *data, size_t size, int flags)
{
    REAL(send);
    if (is_xenstore(fd))
        return xenstore_send(fd, &(struct iovec){ (void *)data, size }, 1, flags);
    return real(fd, data, size, flags);
}

EXPORT ssize_t sendmsg(int fd, const struct msghdr *message, int flags)
{
    if (is_xenstore(fd))
        return xenstore_send(fd, message->msg_iov, (int)message->msg_iovlen, flags);
    return real_sendmsg(fd, message, flags);
}

EXPORT ssize_t writev(int fd, const struct iovec *pieces, int count)
{
    REAL(writev);
    if (is_xenstore(fd))
        return xenstore_send(fd, pieces, count, 0);
    return file_fails(fd, "writev") ? -1 : real(fd, pieces, count);
}

/* Memory of domains. */

static int map_at(uint64_t address, int64_t offset, uint64_t pages)
{
    void *mapped = mmap((void *)address, pages * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED,
                        memory_fd, offset);
    return mapped == MAP_FAILED ? errno : 0;
}

static int map_batch(const privcmd_mmapbatch_v2_t *batch)
{
    struct domain *domain = domain_of(batch->dom);
    int error = count_call(DEVICE, MAP_BATCH, batch->dom);

    if (error)
        return -error;
    if (!domain)
        return -ESRCH;
    for (unsigned i = 0, run; i < batch->num; i += run) {
        int64_t offset = frame_offset(domain, batch->arr[i]);
        run = 1;
        batch->err[i] = offset < 0 ? -EINVAL : 0;
        if (offset < 0)
            continue;
        while (i + run < batch->num && frame_offset(domain, batch->arr[i + run]) == offset + (int64_t)run * PAGE)
            batch->err[i + run++] = 0;
        if ((error = map_at(batch->addr + (uint64_t)i * PAGE, offset, run)))
            return -error;
    }
    return 0;
}

static int map_resource(privcmd_mmap_resource_t *resource)
{
    struct domain *domain = domain_of(resource->dom);
    int error = count_call(DEVICE, MAP_RESOURCE, resource->dom);

    if (error)
        return -error;
    if (!domain)
        return -ESRCH;
    if (resource->type != XENMEM_resource_grant_table || resource->id != XENMEM_resource_grant_table_id_shared)
        return -EOPNOTSUPP;
    if (!resource->addr) {
        resource->num = GRANT_FRAMES;
        return 0;
    }
    if (resource->idx + resource->num > GRANT_FRAMES)
        return -EINVAL;
    uint64_t page = slot_of(domain) * SLOT_PAGES + GRANTS_AT + resource->idx;
    return -map_at(resource->addr, (int64_t)(page * PAGE), resource->num);
}

/* The index is an offset into the device, and the device is the memory file. */
static int map_grant(struct ioctl_gntdev_map_grant_ref *map)
{
    int64_t offset = 0;
    int error = count_call(DEVICE, GRANT_MAP, (int)map->refs[0].domid);

    if (error)
        return -error;
    for (uint32_t i = 0; i < map->count; i++) {
        int64_t found = granted_offset(map->refs[i].domid, map->refs[i].ref);
        if (found < 0)
            return -EINVAL;
        if (i && found != offset + (int64_t)i * PAGE)
            unanswered("a grant of pages that do not lie side by side", map->refs[i].domid, map->refs[i].ref);
        if (!i)
            offset = found;
    }
    map->index = (uint64_t)offset;
    return 0;
}

static int device_model_op(const privcmd_dm_op_t *op)
{
    if (!op->num)
        return 0; /* libxendevicemodel tries whether the kernel has it */
    int error = count_call(DM, *(const uint32_t *)op->ubufs[0].uptr, op->dom);
    return error ? -error : -EOPNOTSUPP; /* there is no device model */
}

static int memory_ioctl(unsigned long request, void *argument)
{
    struct ioctl_gntdev_get_offset_for_vaddr *place = argument;

    switch (request) {
    case IOCTL_PRIVCMD_MMAPBATCH_V2:
        return map_batch(argument);
    case IOCTL_PRIVCMD_MMAP_RESOURCE:
        return map_resource(argument);
    case IOCTL_PRIVCMD_RESTRICT:
        return 0;
    case IOCTL_PRIVCMD_DM_OP:
        return device_model_op(argument);
    case IOCTL_PRIVCMD_UNIMPLEMENTED:
        return -ENOTTY;
    case IOCTL_GNTDEV_MAP_GRANT_REF:
        return map_grant(argument);
    case IOCTL_GNTDEV_GET_OFFSET_FOR_VADDR:
        place->offset = 0;
        place->count = 1; /* more are mapped by nobody here */
        return 0;
    case IOCTL_GNTDEV_UNMAP_GRANT_REF:
        return -count_call(DEVICE, GRANT_UNMAP, 0);
    case IOCTL_GNTDEV_SET_MAX_GRANTS:
    case IOCTL_GNTDEV_SET_UNMAP_NOTIFY:
        return 0;
    default:
        unanswered("an ioctl of /dev/xen/privcmd or gntdev", _IOC_NR(request), 0);
    }
}

EXPORT int ioctl(int fd, unsigned long request, ...)
{
    REAL(ioctl);
    va_list more;
    va_start(more, request);
    void *argument = va_arg(more, void *);
    va_end(more);

    char type = (char)_IOC_TYPE(request);
    if (!world || (type != 'P' && type != 'G' && type != 'E'))
        return real(fd, request, argument);
    uint32_t fifo = type == 'E' ? fifo_of(fd) : 0;
    if (!fifo && inode_of(fd) != inode_of(memory_fd))
        return real(fd, request, argument);
    long result;
    if (request == IOCTL_PRIVCMD_HYPERCALL) {
        result = hypercall(argument);
    } else {
        world_lock();
        result = fifo ? event_ioctl(fifo, request, argument) : memory_ioctl(request, argument);
        world_unlock();
    }
    if (result < 0)
        return failed((int)-result);
    return (int)result;
}
