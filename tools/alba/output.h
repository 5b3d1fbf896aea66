/* What the CLI prints: the JSON envelope (README.md), tables, and errors. */
#ifndef ALBA_OUTPUT_H
#define ALBA_OUTPUT_H

#include <stdbool.h>
#include <stdint.h>

#include <jansson.h>

#include "base/buf.h"

struct cli;

/* Prints result or error of a finished verb; returns the exit code. */
int output_finish(struct cli *cli, int rc);
/* What was printed goes out: `exit_code`, or 2 when it cannot, which stderr tells unless the reader
 * has just gone. */
int output_flush(const char *verb, int exit_code);

/* A name or text as JSON. One that is not UTF-8 or holds a zero byte is escaped: each byte but
 * printable ASCII, and each backslash, as \xNN. */
json_t *output_name(struct slice name, bool *ret_escaped);

/* Text for a terminal, fresh: one line that moves no cursor. Control characters, and bytes that are
 * not UTF-8, are \xNN. */
char *output_plain(const char *text);
/* Such a line on stdout. */
void output_line(const char *text);
/* And on stderr: errors, and whatever names what came from outside. */
void output_note(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* How wide UTF-8 text is; what is wider or narrower than one column a character is not known. */
size_t output_columns(const char *text);

/* A table on stdout. `columns` is "title=path title=path …"; path is a key of the
 * row objects, "key.key", or "#0" for the place in an array row. */
void output_table(const json_t *rows, const char *columns);

/* An object on stdout, one field a line; those of an object inside it are shifted. */
void output_fields(const json_t *object);

enum { OUTPUT_SIZE_TEXT_BYTES = 16 };
/* "1.5 GiB" */
void output_size_text(char ret_text[OUTPUT_SIZE_TEXT_BYTES], uint64_t bytes);
/* For people: replaces the bytes under `key` of every row by a text such as "1.5 GiB". */
void output_sizes(json_t *rows, const char *key);

#endif
