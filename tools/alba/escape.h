/* Keys and values, which are any bytes, as one line of printable ASCII, and back.
 *
 * As the older CLI writes them: \n \t \r \b, \\ for a backslash, \ddd (decimal) for any other byte
 * that is not printable ASCII. Any thread. */
#ifndef ALBA_ESCAPE_H
#define ALBA_ESCAPE_H

#include <jansson.h>

#include "base/buf.h"
#include "base/err.h"

void escape_put(struct buf *b, struct slice bytes);
json_t *escape_json(struct slice bytes);
/* Appends the bytes that `text` stands for; \", \', "\ " and \xHH are understood, too. -EINVAL
 * with the place of what is wrong. */
int escape_parse(const char *text, struct buf *ret_bytes, struct err *e);

#endif
