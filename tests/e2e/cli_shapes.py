"""The JSON that programs written for the older software read: WIRE section 14 as Python types.

A type matches its values, a tuple any of its members, [x] a list of x, {key: x} an object with at
least these keys, "name" only that text. Fields of ours beside them are no error."""

NUMBER = (int, float)
STAT = {"n": int, "avg": NUMBER, "exp_avg": NUMBER, "m2": NUMBER, "var": NUMBER, "min": NUMBER,
        "max": NUMBER, "alpha": NUMBER}
OSD = {"id": (int, None), "alba_id": (str, None), "kind": "AsdV1", "ips": [str], "port": int,
       "use_tls": bool, "use_rdma": bool, "decommissioned": bool, "node_id": str, "long_id": str,
       "total": int, "used": (int, None), "seen": [NUMBER], "read": [NUMBER], "write": [NUMBER],
       "errors": [list], "checksum_errors": (int, None), "claimed_since": (float, None),
       "albamgr_cfg": None, "prefix": None, "preset": None, "endpoints": None}
NAMESPACE_STATISTICS = {"logical": int, "storage": int, "storage_per_osd": [[int]],
                        "bucket_count": [list]}
NAMESPACE = {"id": int, "name": str, "nsm_host_id": str, "state": "active", "preset_name": str}
STATISTICS = {"creation": NUMBER, "period": NUMBER, "statistics": {"Apply": STAT, "Range": STAT}}
VERSION = [(int, str)]

SHAPES = {
    "get-alba-id": {"id": str},
    "proxy-get-version": VERSION,
    "nsm-get-version": VERSION,
    "mgr-get-version": VERSION,
    "list-namespaces": [NAMESPACE],
    "list-namespaces-by-id": [dict],
    "show-namespace": NAMESPACE_STATISTICS,
    "show-namespaces": [(int, [{"name": str, "statistics": NAMESPACE_STATISTICS,
                                "namespace": NAMESPACE}])],
    "list-osds": [OSD],
    "list-all-osds": [OSD],
    "list-available-osds": [OSD],
    "list-decommissioning-osds": [OSD],
    "list-purging-osds": [OSD],
    "list-namespace-osds": [[(int, [str])]],
    "list-ns-osds": [[(int, [str])]],
    "list-nsm-hosts": [{"id": str, "kind": str, "cluster_id": str,
                        "nodes": [{"name": str, "ips": [str], "port": int}], "lost": bool,
                        "namespaces_count": int}],
    "list-proxies": [{"id": str, "host": str, "version": str, "started": float,
                      "endpoints": [str]}],
    "get-osd-claimed-by": (str, None),
    "list-work": {"count": int, "failed_count": int, "failed": [{
        "id": int, "kind": str, "namespace": int, "object": str, "times": int, "last": NUMBER,
        "why": str}]},
    "list-jobs": [str],
    "get-disk-safety": [{"namespace": str, "safety": (int, None), "safety_count": (int, None),
                         "bucket_safety": [{"bucket": [int], "count": int,
                                            "applicable_dead_osds": int,
                                            "remaining_safety": int}]}],
    "proxy-statistics": {"creation": NUMBER, "period": NUMBER, "ns_stats": [[(str, {
        "last_updated": NUMBER, "manifest_cached": int, "manifest_from_nsm": int,
        "manifest_stale": int, "fragment_cache_hits": int, "fragment_cache_misses": int})]]},
    "nsm-host-statistics": STATISTICS,
    "mgr-statistics": STATISTICS,
    "proxy-list-namespaces": [str],
    "proxy-list-objects": {"have_more": bool, "n": int, "objects": [str]},
    "list-objects": [str],
    "show-object": {"name": str, "object_id": str, "storage_scheme": list, "encrypt_info": list,
                    "chunk_sizes": [int], "size": int, "checksum": [str], "fragments": [[{
                        "osd": (int, None), "ver": int, "crc": [str], "len": int}]],
                    "version_id": int, "max_disks_per_node": int, "timestamp": NUMBER},
    "get-maintenance-config": {"enable_auto_repair": bool, "auto_repair_timeout_seconds": NUMBER,
                               "auto_repair_disabled_nodes": [str], "enable_rebalance": bool,
                               "cache_eviction_prefix_preset_pairs": dict,
                               "redis_lru_cache_eviction": None},
    "list-presets": [{"name": str, "in_use": bool, "is_default": bool, "policies": [[int]],
                      "version": int, "fragment_size": int, "compression": str,
                      "object_checksum": {"allowed": [list], "default": list,
                                          "verify_upload": bool}, "osds": list}],
    "proxy-client-cfg": {"cluster_id": str},
}
UNIT = ("create-namespace", "delete-namespace", "proxy-create-namespace", "proxy-delete-namespace",
        "upload-object", "download-object", "delete-object", "proxy-upload-object",
        "proxy-download-object", "proxy-delete-object", "claim-osd", "update-osd",
        "decommission-osd", "purge-osd", "create-preset", "delete-preset", "preset-set-default",
        "deliver-messages", "add-nsm-host", "update-nsm-host", "update-abm-client-config",
        "proxy-invalidate-cache")


def fits(value, shape):
    if isinstance(shape, tuple):
        return any(fits(value, s) for s in shape)
    if isinstance(shape, list):
        return isinstance(value, list) and all(fits(v, shape[0]) for v in value)
    if isinstance(shape, dict):
        return isinstance(value, dict) and all(k in value and fits(value[k], s)
                                               for k, s in shape.items())
    if isinstance(shape, type):
        return isinstance(value, shape) and (shape is bool or not isinstance(value, bool))
    return value == shape


def check(verb, result):
    """Of a verb that programs know, its result looks as they expect."""
    if verb in UNIT:
        assert result == {}, f"{verb}: {result}"
    elif verb in SHAPES:
        assert fits(result, SHAPES[verb]), f"{verb} has another shape: {result}"
