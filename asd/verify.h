/* Is a value what was stored? For range validation and the scrub.
 *
 * Blocks: pool threads. Memory is bounded whatever the value's size. */
#ifndef ASD_VERIFY_H
#define ASD_VERIFY_H

#include <stdint.h>

#include "asd/value.h"
#include "base/err.h"

/* What is wrong with a value. */
enum asd_bad {
    ASD_BAD_NOTHING,
    ASD_BAD_RECORD,   /* its record, or the index around it */
    ASD_BAD_SLAB,     /* the slab file is missing, cut, or another one */
    ASD_BAD_READ,     /* the device cannot read it */
    ASD_BAD_VALUE,    /* its bytes are not those that were stored */
    ASD_BAD_CHECKSUM, /* they are, but the checksum that came with them is another one */
    ASD_BADS
};

const char *asd_bad_name(enum asd_bad bad); /* "record", …: for /status and metrics */

enum asd_verify_flags {
    ASD_VERIFY_CLIENT = 1, /* the client's checksum, too */
    ASD_VERIFY_MEDIUM = 2, /* read past the page cache, where the file system can */
};

/* Reads a value that asd_value_find() found. 0: *ret_bad says how it is, *e why if it is bad,
 * which is counted once. Else it could not be told, by want of descriptors or the like. */
int asd_verify(struct asd_store *store, const struct asd_found *found, unsigned flags,
               enum asd_bad *ret_bad, struct err *e);
/* The same without reading it: does its slab reach that far? For one in a slab. */
int asd_verify_there(struct asd_store *store, const struct asd_found *found, enum asd_bad *ret_bad,
                     struct err *e);
/* What asd_value_find() failed with: why there is nothing to verify. ASD_BAD_NOTHING: that says
 * nothing about the value (ERR_NOT_FOUND, no descriptors, …). */
enum asd_bad asd_verify_find_bad(int rc, const struct asd_found *found);

#endif
