/* Transactions: asserts and changes of one namespace, all or nothing. Part of
 * <albacore/albacore.h>.
 *
 * A struct albacore_transaction is filled by one thread, applied, and freed; it may be applied
 * again. Names and checksums are copied; data and files are borrowed until it is freed.
 *
 * ALBACORE_IN_DOUBT: it happened, or never will, but for one case. The proxy is told the time-out,
 * and neither begins nor repeats a commit behind it, or when its client has gone; nor does a commit
 * win over an object that was written since. A commit that is still on its way to the metadata
 * then (the store or the network stands still) may happen when that goes on, if the names are as
 * they were when it was sent. So assert, in the next transaction, on what a read showed (absent,
 * exists, CRC), and read again before relying on an absence. */
#ifndef ALBACORE_TRANSACTION_H
#define ALBACORE_TRANSACTION_H

#include <albacore/objects.h>

#ifdef __cplusplus
extern "C" {
#endif

struct albacore_transaction;

ALBACORE_API struct albacore_transaction *albacore_transaction_new(void);
ALBACORE_API void albacore_transaction_free(struct albacore_transaction *transaction);

ALBACORE_API void albacore_assert_exists(struct albacore_transaction *transaction,
                                         const char *name);
ALBACORE_API void albacore_assert_absent(struct albacore_transaction *transaction,
                                         const char *name);
/* The object has this CRC-32C (Castagnoli) of all of its bytes. */
ALBACORE_API void albacore_assert_crc32c(struct albacore_transaction *transaction, const char *name,
                                         uint32_t crc);

ALBACORE_API void albacore_add_put(struct albacore_transaction *transaction, const char *name,
                                   const void *data, size_t bytes);
/* The next put added gets a checksum, which is compared with the data that arrives. */
ALBACORE_API void albacore_next_crc32c(struct albacore_transaction *transaction, uint32_t crc);
/* As albacore_put_fd(). But a file goes in parts only when it is the only change: files that no
 * proxy took itself, beside other changes, take ALBACORE_BYTES_MAX together, data included. */
ALBACORE_API void albacore_add_put_fd(struct albacore_transaction *transaction, const char *name,
                                      int fd, const struct albacore_extent *extents, size_t count);
ALBACORE_API void albacore_add_delete(struct albacore_transaction *transaction, const char *name);

/* ALBACORE_ASSERT_FAILED: nothing was changed, and albacore_failed_name() tells whose assert. */
ALBACORE_API int albacore_apply(struct albacore *client, const char *ns,
                                struct albacore_transaction *transaction,
                                const struct albacore_call *call, struct albacore_error *e);
/* After ALBACORE_ASSERT_FAILED; else "". Lives until the next apply. */
ALBACORE_API const char *albacore_failed_name(const struct albacore_transaction *transaction);

#ifdef __cplusplus
}
#endif

#endif
