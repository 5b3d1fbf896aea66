#include "alba/output.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "alba/advice.h"
#include "alba/verb.h"
#include "base/buf.h"
#include "base/check.h"
#include "base/mem.h"

enum { COLUMNS_MAX = 12, FIELD_WIDTH = 24 };

void output_size_text(char ret_text[OUTPUT_SIZE_TEXT_BYTES], uint64_t bytes)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    double value = (double)bytes;
    unsigned unit = 0;

    while (value >= 1024 && unit < sizeof units / sizeof *units - 1) {
        value /= 1024;
        unit++;
    }
    snprintf(ret_text, OUTPUT_SIZE_TEXT_BYTES, unit == 0 || value >= 100 ? "%.0f %s" : "%.1f %s",
             value, units[unit]);
}

void output_sizes(json_t *rows, const char *key)
{
    size_t index;
    json_t *row;

    json_array_foreach(rows, index, row)
    {
        const json_t *bytes = json_object_get(row, key);
        char text[OUTPUT_SIZE_TEXT_BYTES];

        if (json_is_integer(bytes)) {
            output_size_text(text, (uint64_t)json_integer_value(bytes));
            json_object_set_new(row, key, json_string(text));
        }
    }
}

json_t *output_name(struct slice name, bool *ret_escaped)
{
    const char *at = name.len != 0 ? (const char *)name.data : "";
    struct buf out = {0};
    json_t *text = memchr(at, '\0', name.len) == NULL ? json_stringn(at, name.len) : NULL;

    *ret_escaped = text == NULL;
    for (size_t i = 0; text == NULL && i < name.len; i++) {
        bool plain = at[i] >= ' ' && at[i] <= '~' && at[i] != '\\';

        buf_printf(&out, plain ? "%c" : "\\x%02x", (uint8_t)at[i]);
    }
    if (text == NULL) {
        text = json_stringn((const char *)out.data, out.len);
    }
    buf_release(&out);
    return text;
}

/* How many bytes the character here has; 0: it may do something to a terminal, or is no UTF-8. */
static size_t printable(const char *at)
{
    static const uint32_t least[] = {0, 0, 0xa0, 0x800, 0x10000}; /* C1 controls end before a0 */
    uint8_t first = (uint8_t)*at;
    size_t bytes = first < 0x80 ? 1 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
    uint32_t c = bytes == 1 ? first : first & (0xffu >> (bytes + 1));

    if (bytes == 1) {
        return first >= ' ' && first != 0x7f;
    }
    for (size_t i = 1; i < bytes; i++) {
        if (((uint8_t)at[i] & 0xc0) != 0x80) {
            return 0; /* the end of the text, too */
        }
        c = c << 6 | ((uint8_t)at[i] & 0x3f);
    }
    return first >= 0xc0 && first < 0xf8 && c >= least[bytes] ? bytes : 0;
}

char *output_plain(const char *text)
{
    struct buf out = {0};
    size_t len;

    while (*text != '\0') {
        size_t bytes = printable(text);

        if (bytes == 0) {
            buf_printf(&out, "\\x%02x", (uint8_t)*text++);
        } else {
            buf_put(&out, text, bytes);
            text += bytes;
        }
    }
    buf_put_u8(&out, 0);
    return (char *)buf_detach(&out, &len);
}

void output_line(const char *text)
{
    char *plain = output_plain(text);

    puts(plain);
    free(plain);
}

void output_note(const char *fmt, ...)
{
    char *text, *plain;
    va_list ap;

    va_start(ap, fmt);
    CHECK(vasprintf(&text, fmt, ap) >= 0);
    va_end(ap);
    plain = output_plain(text);
    fprintf(stderr, "%s\n", plain);
    free(plain);
    free(text);
}

static int fail_json(const struct cli *cli)
{
    bool escaped;
    json_t *doc = json_pack("{s:b, s:{s:o, s:s, s:i}}", "success", 0, "error", "message",
                            output_name(slice_str(cli->err.msg), &escaped), "exception_type",
                            cli->exception_type != NULL ? cli->exception_type : "unknown",
                            "exception_code", cli->exception_code);

    json_dumpf(doc, stdout, JSON_COMPACT | JSON_ENSURE_ASCII);
    putchar('\n');
    json_decref(doc);
    return cli->exit_code != 0 ? cli->exit_code : cli->verb->fails_with_exit_one ? 1 : 0;
}

static void succeed_json(struct cli *cli)
{
    json_t *doc = json_object();

    json_object_set_new(doc, "success", json_true());
    json_object_set(doc, "result", cli->result);
    json_dumpf(doc, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(15) | JSON_ENSURE_ASCII);
    putchar('\n');
    json_decref(doc);
}

int output_flush(const char *verb, int exit_code)
{
    if (fflush(stdout) != 0) {
        if (errno != EPIPE) {
            output_note("alba %s: write the output: %s", verb, strerror(errno));
        }
        return 2;
    }
    return ferror(stdout) != 0 ? 2 : exit_code;
}

int output_finish(struct cli *cli, int rc)
{
    if (rc != 0) {
        advice_add(cli);
    }
    if (rc != 0 && cli->to_json) {
        return output_flush(cli->verb->name, fail_json(cli));
    }
    if (rc != 0) {
        output_note("alba %s: %s", cli->verb->name, cli->err.msg);
        return 2;
    }
    if (cli->result == NULL) {
        cli->result = json_object();
    }
    if (cli->to_json) {
        succeed_json(cli);
    } else if (cli->verb->show != NULL) {
        cli->verb->show(cli);
    }
    return output_flush(cli->verb->name, cli->exit_code);
}

/* ---- tables ---- */

struct column {
    char title[40];
    char path[40];
    size_t width;
    bool right; /* numbers stand right */
};

static const json_t *follow(const json_t *row, const char *path)
{
    char step[40];

    while (row != NULL && *path != '\0') {
        size_t len = strcspn(path, ".");

        snprintf(step, sizeof step, "%.*s", (int)len, path);
        row = step[0] == '#' ? json_array_get(row, (size_t)strtoul(step + 1, NULL, 10))
                             : json_object_get(row, step);
        path += len + (path[len] == '.');
    }
    return row;
}

static char *cell_text(const json_t *value)
{
    struct buf b = {0};
    size_t index;
    json_t *item;
    size_t len;

    if (value == NULL || json_is_null(value)) {
        return mem_strdup("-");
    }
    if (json_is_string(value)) {
        return output_plain(json_string_value(value));
    }
    if (!json_is_array(value)) {
        char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT | JSON_REAL_PRECISION(15));

        return text != NULL ? text : mem_strdup("?");
    }
    json_array_foreach(value, index, item)
    {
        char *text = cell_text(item);

        buf_printf(&b, "%s%s", index != 0 ? "," : "", text);
        free(text);
    }
    buf_put_u8(&b, 0);
    return (char *)buf_detach(&b, &len);
}

static unsigned parse_columns(const char *spec, struct column columns[COLUMNS_MAX])
{
    unsigned count = 0;

    while (*spec != '\0' && count < COLUMNS_MAX) {
        size_t title_len = strcspn(spec, "=");
        size_t path_len = strcspn(spec + title_len + 1, " ");
        struct column *c = &columns[count++];

        *c = (struct column){.right = true};
        snprintf(c->title, sizeof c->title, "%.*s", (int)title_len, spec);
        snprintf(c->path, sizeof c->path, "%.*s", (int)path_len, spec + title_len + 1);
        c->width = strlen(c->title);
        spec += title_len + 1 + path_len;
        spec += strspn(spec, " ");
    }
    return count;
}

size_t output_columns(const char *text)
{
    size_t columns = 0;

    for (; *text != '\0'; text++) {
        columns += ((uint8_t)*text & 0xc0) != 0x80;
    }
    return columns;
}

static void print_cell(const struct column *c, const char *text, bool last)
{
    int bytes = (int)(c->width + strlen(text) - output_columns(text));

    if (c->right) {
        printf("%*s%s", bytes, text, last ? "\n" : "  ");
    } else if (last) {
        printf("%s\n", text);
    } else {
        printf("%-*s  ", bytes, text);
    }
}

void output_table(const json_t *rows, const char *columns)
{
    struct column cols[COLUMNS_MAX];
    unsigned count = parse_columns(columns, cols);
    size_t row_count = json_array_size(rows);
    char **cells = mem_array(row_count * count + 1, sizeof *cells);

    for (size_t r = 0; r < row_count; r++) {
        for (unsigned c = 0; c < count; c++) {
            const json_t *value = follow(json_array_get(rows, r), cols[c].path);
            char *text = cell_text(value);
            size_t width = output_columns(text);

            cells[r * count + c] = text;
            cols[c].right = cols[c].right && (json_is_number(value) || json_is_null(value));
            cols[c].width = width > cols[c].width ? width : cols[c].width;
        }
    }
    for (unsigned c = 0; c < count && row_count != 0; c++) {
        print_cell(&cols[c], cols[c].title, c + 1 == count);
    }
    for (size_t i = 0; i < row_count * count; i++) {
        print_cell(&cols[i % count], cells[i], i % count + 1 == count);
        free(cells[i]);
    }
    if (row_count == 0 && isatty(STDOUT_FILENO)) {
        puts("(none)");
    }
    free(cells);
}

/* ---- fields ---- */

static void print_fields(const json_t *object, int indent)
{
    const char *key;
    json_t *value;

    json_object_foreach((json_t *)(uintptr_t)object, key, value)
    {
        if (json_is_object(value)) {
            printf("%*s%s\n", indent, "", key);
            print_fields(value, indent + 2);
        } else {
            char *text = cell_text(value);

            printf("%*s%-*s %s\n", indent, "", FIELD_WIDTH - indent, key, text);
            free(text);
        }
    }
}

void output_fields(const json_t *object)
{
    print_fields(object, 0);
}
