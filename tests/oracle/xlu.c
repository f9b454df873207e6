/*
 * Prints what libxlutil makes of a text, as JSON: `xlu cfg|disk|arguments|rate CONFIG`, CONFIG being the request (see stub.c).
 *
 * A configuration becomes {"key": {"string": s, "number": n} or {"list": [...]}}; bytes are written as characters of
 * the same number, so that any text has a JSON form. The keys are found by asking for every word of the text: libxlutil
 * has no call that lists them.
 */
#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <libxl.h>
#include <libxlutil.h>

int libxl_read_file_contents(libxl_ctx *ctx, const char *path, void **data, int *length);

static void print_string(const char *text)
{
    putchar('"');
    for (; *text; text++)
        printf("\\u%04x", (unsigned char)*text);
    putchar('"');
}

static void print_list(XLU_Config *cfg, XLU_ConfigList *list)
{
    XLU_ConfigValue *item;
    XLU_ConfigList *inner;
    char *text;

    putchar('[');
    for (int i = 0; (item = xlu_cfg_get_listitem2(list, i)); i++) {
        if (i)
            putchar(',');
        if (!xlu_cfg_value_get_string(cfg, item, &text, 1))
            print_string(text);
        else if (!xlu_cfg_value_get_list(cfg, item, &inner, 1))
            print_list(cfg, inner);
    }
    putchar(']');
}

static bool print_setting(XLU_Config *cfg, const char *name, bool first)
{
    XLU_ConfigList *list;
    const char *text;
    long number;
    bool is_string = !xlu_cfg_get_string(cfg, name, &text, 1);

    if (!is_string && xlu_cfg_get_list(cfg, name, &list, NULL, 1))
        return false;
    if (!first)
        putchar(',');
    print_string(name);
    if (is_string) {
        fputs(":{\"string\":", stdout);
        print_string(text);
        if (!xlu_cfg_get_long(cfg, name, &number, 1))
            printf(",\"number\":%ld", number);
    } else {
        fputs(":{\"list\":", stdout);
        print_list(cfg, list);
    }
    putchar('}');
    return true;
}

static bool in_word(char c)
{
    return c == '.' || c == '_' || (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z');
}

static int print_config(const char *data, int length)
{
    XLU_Config *cfg = xlu_cfg_init(stderr, "text");
    bool first = true;

    if (xlu_cfg_readdata(cfg, data, length))
        return 1;
    putchar('{');
    for (int at = 0; at < length;) {
        int start = at;
        while (at < length && in_word(data[at]))
            at++;
        if (at > start && data[start] >= 'a' && data[start] <= 'z') {
            char *name = strndup(data + start, (size_t)(at - start));
            if (print_setting(cfg, name, first))
                first = false;
            free(name);
        }
        if (at == start)
            at++;
    }
    puts("}");
    return 0;
}

static int print_disk(const char *const *specs, int count)
{
    XLU_Config *cfg = xlu_cfg_init(stderr, "text");
    libxl_device_disk disk;
    libxl_ctx *ctx;

    xentoollog_logger *logger = (xentoollog_logger *)xtl_createlogger_stdiostream(stderr, XTL_ERROR, 0);
    if (libxl_ctx_alloc(&ctx, LIBXL_VERSION, 0, logger))
        return 2;
    libxl_device_disk_init(&disk);
    if (xlu_disk_parse(cfg, count, specs, &disk))
        return 1;
    puts(libxl_device_disk_to_json(ctx, &disk));
    return 0;
}

/* Specs that are read as the arguments of xl block-attach are; a unit separator stands between two. */
static int print_disk_of_arguments(char *text)
{
    const char *specs[64];
    int count = 0;

    for (char *next; count < 64; text = next + 1) {
        specs[count++] = text;
        next = strchr(text, '\x1f');
        if (!next)
            return print_disk(specs, count);
        *next = '\0';
    }
    return 2;
}

static int print_rate(const char *rate)
{
    XLU_Config *cfg = xlu_cfg_init(stderr, "text");
    libxl_device_nic nic;

    libxl_device_nic_init(&nic);
    if (xlu_vif_parse_rate(cfg, rate, &nic))
        return 1;
    printf("{\"rate_bytes_per_interval\": %llu, \"rate_interval_usecs\": %lu}\n",
           (unsigned long long)nic.rate_bytes_per_interval, (unsigned long)nic.rate_interval_usecs);
    return 0;
}

int main(int argc, char **argv)
{
    void *data;
    const char *text;
    int length;

    if (argc != 3 || libxl_read_file_contents(NULL, argv[2], &data, &length))
        return 2;
    text = data;
    if (!strcmp(argv[1], "cfg"))
        return print_config(data, length);
    if (!strcmp(argv[1], "disk"))
        return print_disk(&text, 1);
    if (!strcmp(argv[1], "arguments"))
        return print_disk_of_arguments(data);
    if (!strcmp(argv[1], "rate"))
        return print_rate(data);
    return 2;
}
