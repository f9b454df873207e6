/* What a C program pays for what Host.create(config, paused=True) and Domain.destroy() do, with the calls that pyxen
 * makes: the configuration from JSON, need and free memory, create, destroy. The JSON is in the file named by the
 * argument. For each line of input one round; it prints the nanoseconds that create and destroy took. */

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define LIBXL_API_VERSION 0x041400
#include <libxl.h>
#include <libxl_utils.h>

#define NO_DOMID 0xffffffffu

static uint64_t now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000ull + t.tv_nsec;
}

static int create(libxl_ctx *ctx, const char *json, uint32_t *domid)
{
    libxl_domain_config config;
    uint64_t needed, available;
    int code;

    libxl_domain_config_init(&config);
    code = libxl_domain_config_from_json(ctx, &config, json);
    if (!code)
        code = libxl_domain_need_memory(ctx, &config, NO_DOMID, &needed);
    if (!code)
        code = libxl_get_free_memory(ctx, &available);
    if (!code && needed > available)
        code = ERROR_NOMEM;
    if (!code)
        code = libxl_domain_create_new(ctx, &config, domid, NULL, NULL);
    libxl_domain_config_dispose(&config);
    return code;
}

int main(int argc, char **argv)
{
    xentoollog_logger *logger = (xentoollog_logger *)xtl_createlogger_stdiostream(stderr, XTL_WARN, 0);
    libxl_ctx *ctx;
    void *json;
    int length;
    char line[16];

    if (argc != 2 || libxl_ctx_alloc(&ctx, LIBXL_VERSION, 0, logger))
        return 1;
    if (libxl_read_file_contents(ctx, argv[1], &json, &length))
        return 1;
    while (fgets(line, sizeof line, stdin)) {
        uint64_t start = now(), created;
        uint32_t domid = NO_DOMID;

        if (create(ctx, json, &domid))
            return 1;
        created = now();
        if (libxl_domain_destroy(ctx, domid, NULL))
            return 1;
        printf("%llu %llu\n", (unsigned long long)(created - start), (unsigned long long)(now() - created));
        fflush(stdout);
    }
    free(json);
    libxl_ctx_free(ctx);
    return 0;
}
