/*
 * Prints what libxl makes of its own JSON: `libxl_json CONFIG` reads a libxl_domain_config (CONFIG being the server's
 * request, see stub.c) into libxl's structs and writes it back from them.
 */
#include <stdio.h>

#include <libxl.h>

int libxl_read_file_contents(libxl_ctx *ctx, const char *path, void **data, int *length);

int main(int argc, char **argv)
{
    xentoollog_logger *logger = (xentoollog_logger *)xtl_createlogger_stdiostream(stderr, XTL_ERROR, 0);
    libxl_domain_config config;
    libxl_ctx *ctx;
    void *text;
    int length;

    if (argc != 2 || libxl_read_file_contents(NULL, argv[1], &text, &length))
        return 2;
    if (libxl_ctx_alloc(&ctx, LIBXL_VERSION, 0, logger))
        return 2;
    libxl_domain_config_init(&config);
    if (libxl_domain_config_from_json(ctx, &config, text)) {
        fputs("libxl_domain_config_from_json failed\n", stderr);
        return 1;
    }
    puts(libxl_domain_config_to_json(ctx, &config));
    return 0;
}
