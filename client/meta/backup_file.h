/* The stream of a backup of metadata: its bytes (BACKUP.md).
 *
 * A reader takes any bytes: whatever is wrong has a message with the record and the byte, and a
 * stream is whole only when backup_read() has answered 0. One thread; calls block on the file. */
#ifndef META_BACKUP_FILE_H
#define META_BACKUP_FILE_H

#include <stdint.h>
#include <stdio.h>

#include "base/buf.h"
#include "base/err.h"
#include "meta/copy_record.h"

enum { BACKUP_BODY_BYTES_MAX = 1054720, BACKUP_HOST_BYTES_MAX = 255 };

enum backup_type {
    BACKUP_PLACE = 1,
    BACKUP_VALUE = 2,
    BACKUP_LATE = 3,
    BACKUP_DAMAGED = 4,
    BACKUP_END = 255
};

struct backup_head {
    char alba_id[REGISTRY_ALBA_ID_BYTES];
    uint64_t version; /* of the registry */
    char commit[COPY_COMMIT_TEXT_BYTES];
    uint64_t time_us;
};

struct backup_file {
    FILE *file; /* borrowed */
    struct backup_head head;
    uint64_t bytes;   /* written or read so far */
    uint64_t records; /* … without the end */
    uint64_t values;

    struct crypto_hash_sha256_state *sha; /* private from here on */
    struct buf body;
};

/* ---- writing: into a file of the caller, from its start ---- */

int backup_begin(struct backup_file *b, FILE *file, const struct backup_head *head, struct err *e);
int backup_put_place(struct backup_file *b, uint64_t ns_id, const char *host, struct err *e);
/* VALUE, LATE, or DAMAGED (no value). */
int backup_put(struct backup_file *b, enum backup_type type, struct slice key, struct slice value,
               struct err *e);
/* The end. The caller flushes the file. */
int backup_end(struct backup_file *b, struct err *e);

/* ---- reading ---- */

struct backup_record {
    enum backup_type type;
    uint64_t ns_id; /* PLACE */
    char host[BACKUP_HOST_BYTES_MAX + 1];
    struct slice key; /* the others: borrowed until the next call */
    struct slice value;
};

/* Reads the head. ERR_CORRUPT, ERR_VERSION. */
int backup_open(struct backup_file *b, FILE *file, struct err *e);
/* 1: *ret_record is the next one; 0: that was the end and all is whole; ERR_CORRUPT. */
int backup_read(struct backup_file *b, struct backup_record *ret_record, struct err *e);

void backup_release(struct backup_file *b); /* accepts {0} */

#endif
