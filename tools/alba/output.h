/* What the CLI prints: the JSON envelope of WIRE.md section 14, tables, and errors. */
#ifndef ALBA_OUTPUT_H
#define ALBA_OUTPUT_H

#include <stdint.h>
#include <stdio.h>

#include <jansson.h>

struct cli;

/* Prints result or error of a finished verb; returns the exit code. */
int output_finish(struct cli *cli, int rc);

/* A table on stdout. `columns` is "title=path title=path …"; path is a key of the
 * row objects, "key.key", or "#0" for the place in an array row. */
void output_table(const json_t *rows, const char *columns);

/* "1.5 GiB"; writes at most 16 bytes. */
enum { OUTPUT_SIZE_TEXT_BYTES = 16 };
void output_size_text(char ret_text[OUTPUT_SIZE_TEXT_BYTES], uint64_t bytes);

#endif
