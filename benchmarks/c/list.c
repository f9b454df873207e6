/* What a C program pays for what Host.list() gives: all domains, each with its name.
 * For each line of input one round; it prints the nanoseconds it took and the number of names. */

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <libxl.h>
#include <libxl_utils.h>

static uint64_t now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000ull + t.tv_nsec;
}

int main(void)
{
    xentoollog_logger *logger = (xentoollog_logger *)xtl_createlogger_stdiostream(stderr, XTL_WARN, 0);
    libxl_ctx *ctx;
    char line[16];

    if (libxl_ctx_alloc(&ctx, LIBXL_VERSION, 0, logger))
        return 1;
    while (fgets(line, sizeof line, stdin)) {
        uint64_t start = now();
        int count, names = 0;
        libxl_dominfo *list = libxl_list_domain(ctx, &count);

        for (int i = 0; list && i < count; i++) {
            char *name = libxl_domid_to_name(ctx, list[i].domid);

            names += name != NULL;
            free(name);
        }
        libxl_dominfo_list_free(list, count);
        printf("%llu %d\n", (unsigned long long)(now() - start), names);
        fflush(stdout);
    }
    libxl_ctx_free(ctx);
    return 0;
}
