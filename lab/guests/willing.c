/* What tiny-pv does when its command line begins with `willing`: it follows control/shutdown in xenstore as Linux does
 * (poweroff, halt, reboot, suspend), and goes on after it was suspended, in the same domain or restored in another.
 *
 * One vCPU, no event handlers: it waits with SCHEDOP_poll. Page N of the guest is at the virtual address N * PAGE_SIZE.
 * A hypercall that fails is a fault of this guest's, and ends it as crashed.
 */

typedef unsigned char u8;
typedef unsigned int u32;
typedef unsigned long u64;

#define PAGE_SIZE                4096UL
#define ENTRIES                  (PAGE_SIZE / sizeof(u64))
#define MAPPED                   0x67      /* in a page table: present, writable, for user mode, accessed, dirty */

#define UPDATE_VA_MAPPING        14        /* hypercalls and their commands */
#define   INVALIDATE_PAGE        2
#define SCHED_OP                 29
#define   SHUTDOWN               2
#define   POLL                   3
#define EVENT_CHANNEL_OP         32
#define   SEND                   4

#define REASON_SUSPEND           2

#define STORE_READ               2         /* messages of xenstore */
#define STORE_WATCH              4
#define STORE_WRITE              11
#define STORE_EVENT              15

#define REQUEST                  "control/shutdown"
#define HEARTBEAT                100000000 /* ns */

struct start_info {
    char magic[32];
    u64 nr_pages;
    u64 shared_info;                       /* its machine address */
    u32 flags;
    u64 store_mfn;
    u32 store_port;
    u64 console_mfn;
    u32 console_port;
    u64 pt_base;
    u64 nr_pt_frames;
    u64 mfn_list;                          /* virtual address of the machine frame of each page */
};

struct shared_info {
    struct {
        u64 events[2];
        u64 arch[2];
        u32 version;                       /* changes with the times; odd while they are written */
        u32 pad;
        u64 tsc_timestamp;
        u64 system_time;
        u32 tsc_to_system_mul;
        signed char tsc_shift;
        u8 flags[3];
    } vcpu[32];
    u64 pending[64];                       /* a bit for each event channel */
    u64 mask[64];
    u32 wall_clock[4];
    u64 max_pfn;
    u64 frame_list_list;                   /* frame of the list of the frames that list the frames of the mfn_list */
    u8 rest[PAGE_SIZE - 3104];
};

struct store_ring {
    u8 request[1024];
    u8 response[1024];
    u32 request_consumer, request_producer;
    u32 response_consumer, response_producer;
};

struct console_ring {
    u8 in[1024];
    u8 out[2048];
    u32 in_consumer, in_producer;
    u32 out_consumer, out_producer;
};

struct message {
    u32 type, request, transaction, length;
};

static volatile struct shared_info shared __attribute__((aligned(PAGE_SIZE))); /* only the place where it is mapped */
static u64 frame_list[ENTRIES] __attribute__((aligned(PAGE_SIZE)));
static u64 frame_list_list[ENTRIES] __attribute__((aligned(PAGE_SIZE)));

static struct start_info *start;           /* the toolstack writes to it while the guest is suspended */
static u64 *p2m;                           /* the machine frame of each page; the toolstack writes it anew, too */
static volatile struct store_ring *store;
static int told;                           /* a watch has fired, and what it watches has not been read since */

static long hypercall(u64 number, u64 first, u64 second, u64 third)
{
    asm volatile("syscall"
                 : "+a"(number), "+D"(first), "+S"(second), "+d"(third)
                 :
                 : "rcx", "r11", "memory");
    return (long)number;
}

static void check(long result)
{
    if (result < 0)
        __builtin_trap();
}

static u64 mfn_of(const void *address)
{
    return p2m[(u64)address / PAGE_SIZE];
}

static u64 pfn_of(u64 mfn)
{
    for (u64 pfn = 0; pfn < start->nr_pages; pfn++)
        if (p2m[pfn] == mfn)
            return pfn;
    __builtin_trap();
}

static void map_shared_info(u64 entry)
{
    check(hypercall(UPDATE_VA_MAPPING, (u64)&shared, entry, INVALIDATE_PAGE));
}

/* Maps the shared page, and says there where the toolstack finds the machine frames of this guest's pages. */
static void introduce(void)
{
    map_shared_info(start->shared_info | MAPPED);
    if (start->nr_pages > ENTRIES * ENTRIES)
        __builtin_trap();                  /* it would take a second frame_list */
    for (u64 page = 0; page * ENTRIES < start->nr_pages; page++)
        frame_list[page] = mfn_of(p2m + page * ENTRIES);
    frame_list_list[0] = mfn_of(frame_list);
    shared.max_pfn = start->nr_pages;
    shared.frame_list_list = mfn_of(frame_list_list);
}

/* Returns the nanoseconds that Xen's timeouts are given in. */
static u64 now(void)
{
    volatile __typeof__(shared.vcpu[0]) *times = &shared.vcpu[0];
    u32 version;
    u64 result;
    do {
        version = times->version;
        u32 low, high;
        asm volatile("rdtsc" : "=a"(low), "=d"(high));
        u64 ticks = ((u64)high << 32 | low) - times->tsc_timestamp;
        ticks = times->tsc_shift < 0 ? ticks >> -times->tsc_shift : ticks << times->tsc_shift;
        result = times->system_time + (u64)((unsigned __int128)ticks * times->tsc_to_system_mul >> 32);
    } while (version & 1 || version != times->version);
    return result;
}

/* Waits until xenstore has news, or for a moment: whoever looks whether this guest runs sees that it does something. */
static void wait(void)
{
    u32 port = start->store_port;
    struct {
        u32 *ports;
        u64 count;
        u64 until;
    } poll = {&port, 1, now() + HEARTBEAT};
    check(hypercall(SCHED_OP, POLL, (u64)&poll, 0));
    __atomic_fetch_and(&shared.pending[port / 64], ~(1UL << port % 64), __ATOMIC_SEQ_CST);
}

static void notify(u32 port)
{
    check(hypercall(EVENT_CHANNEL_OP, SEND, (u64)&port, 0));
}

static void print(const char *text)
{
    volatile struct console_ring *console = (void *)(pfn_of(start->console_mfn) * PAGE_SIZE);
    u32 producer = console->out_producer;
    while (*text)
        console->out[producer++ % sizeof console->out] = *text++;
    console->out_producer = producer;
    notify(start->console_port);
}

/* Adds to the request; there is room, for xenstore has taken the one before when it has answered it. */
static void put(const void *data, u32 size)
{
    const u8 *bytes = data;
    u32 producer = store->request_producer;
    while (size--)
        store->request[producer++ % sizeof store->request] = *bytes++;
    store->request_producer = producer;
}

static u8 take(void)
{
    u32 consumer = store->response_consumer;
    while (consumer == store->response_producer)
        wait();
    u8 byte = store->response[consumer % sizeof store->response];
    store->response_consumer = consumer + 1;
    return byte;
}

/* Takes a message, the text of it as far as it fits, and returns its type. */
static u32 receive(char *text, u32 size)
{
    struct message message;
    for (u32 i = 0; i < sizeof message; i++)
        ((u8 *)&message)[i] = take();
    for (u32 i = 0; i < message.length; i++) {
        u8 byte = take();
        if (i < size - 1)
            text[i] = byte;
    }
    text[message.length < size ? message.length : size - 1] = 0;
    notify(start->store_port);             /* the ring may have been full */
    return message.type;
}

/* Sends a request, and takes the answer to it. */
static void ask(u32 type, const char *payload, u32 length, char *answer, u32 size)
{
    struct message message = {type, 0, 0, length};
    put(&message, sizeof message);
    put(payload, length);
    notify(start->store_port);
    while (receive(answer, size) == STORE_EVENT)
        told = 1;
}

/* Asks to be told of requests; xenstore tells at once, for one that was there before. */
static void watch(void)
{
    static const char payload[] = REQUEST "\0token";
    char answer[32];                       /* an error, if this domain has the watch already: it resumes as restored */
    ask(STORE_WATCH, payload, sizeof payload, answer, sizeof answer);
}

static int equal(const char *one, const char *other)
{
    while (*one && *one == *other)
        one++, other++;
    return *one == *other;
}

static int reason_for(const char *request)
{
    static const struct {
        char request[12];
        int reason;
    } known[] = {{"poweroff", 0}, {"halt", 0}, {"reboot", 1}, {"suspend", REASON_SUSPEND}};
    for (u32 i = 0; i < sizeof known / sizeof *known; i++)
        if (equal(request, known[i].request))
            return known[i].reason;
    return -1;
}

static long shut_down(u32 reason)
{
    return hypercall(SCHED_OP, SHUTDOWN, (u64)&reason, mfn_of(start));
}

/* Suspends the domain. What the toolstack saves must name pages of the guest only, by their numbers in it. */
static void suspend(void)
{
    u64 store_mfn = start->store_mfn, console_mfn = start->console_mfn;
    start->store_mfn = pfn_of(store_mfn);
    start->console_mfn = pfn_of(console_mfn);
    map_shared_info(0);
    long cancelled = shut_down(REASON_SUSPEND);
    check(cancelled);
    if (cancelled) {
        start->store_mfn = store_mfn;
        start->console_mfn = console_mfn;
    }
    introduce();
    if (!cancelled)
        watch();
}

void willing(struct start_info *info)
{
    char text[64];

    start = info;
    p2m = (u64 *)info->mfn_list;
    store = (void *)(pfn_of(info->store_mfn) * PAGE_SIZE);
    introduce();
    watch();
    print("pyxen-guest ready\r\n");
    for (;;) {
        if (!told)
            receive(text, sizeof text);    /* nothing but events comes unasked */
        told = 0;
        ask(STORE_READ, REQUEST, sizeof REQUEST, text, sizeof text);
        int reason = reason_for(text);
        if (reason < 0)
            continue;
        ask(STORE_WRITE, REQUEST, sizeof REQUEST, text, sizeof text); /* the empty value: it is acknowledged */
        if (reason == REASON_SUSPEND)
            suspend();
        else
            check(shut_down(reason));
    }
}
