/* A transaction whose one update is a file that goes to a proxy part by part (net/proxy_upload.h),
 * any size. Any thread, blocking. */
#ifndef ALBACORE_PUT_PARTS_H
#define ALBACORE_PUT_PARTS_H

#include "albacore/job.h"
#include "albacore/put_source.h"

/* `source` was measured, and `bytes` came out. As apply_run(); its time-out is for all parts
 * together. PROXY_RC_UNKNOWN_OPERATION: nothing was done, the proxy is an older one. */
int put_parts_run(struct albacore *client, const struct proxy_request *request,
                  struct put_source *source, uint64_t bytes, char **ret_failed_name,
                  const struct albacore_call *call, struct albacore_error *e);

#endif
