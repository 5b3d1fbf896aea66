#include "lib/crash_tree.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/mem.h"

struct name {
    char *text;
    struct crash_node *node;
};

struct crash_names {
    struct name *names;
    size_t count, cap;
};

/* One un-synced I/O on names: `name` in `dir` gets `becomes` (NULL: it goes away), and a
 * rename's old name goes away with that. sync_dir of `dir` makes it durable. */
struct change {
    struct list link;
    uint64_t seq;
    struct crash_node *dir;
    char *name;
    struct crash_node *becomes;
    struct crash_node *subject;  /* the file or directory created, renamed or unlinked */
    struct crash_node *from_dir; /* NULL but for a rename */
    char *from_name;
    bool keep;
};

/* ---- entries ---- */

static struct crash_node *names_get(const struct crash_names *names, const char *text)
{
    for (size_t i = 0; i < names->count; i++) {
        if (strcmp(names->names[i].text, text) == 0) {
            return names->names[i].node;
        }
    }
    return NULL;
}

static void names_set(struct crash_names *names, const char *text, struct crash_node *node)
{
    size_t i = 0;

    while (i < names->count && strcmp(names->names[i].text, text) != 0) {
        i++;
    }
    if (i < names->count && node != NULL) {
        names->names[i].node = node;
    } else if (i < names->count) {
        free(names->names[i].text);
        names->names[i] = names->names[--names->count];
    } else if (node != NULL) {
        if (names->count == names->cap) {
            names->cap = names->cap != 0 ? 2 * names->cap : 8;
            names->names = mem_realloc(names->names, names->cap * sizeof *names->names);
        }
        names->names[names->count++] = (struct name){.text = mem_strdup(text), .node = node};
    }
}

static void names_clear(struct crash_names *names)
{
    for (size_t i = 0; i < names->count; i++) {
        free(names->names[i].text);
    }
    names->count = 0;
}

static void names_free(struct crash_names *names)
{
    if (names != NULL) {
        names_clear(names);
        free(names->names);
        free(names);
    }
}

/* ---- nodes ---- */

static struct crash_node *node_new(struct crash_tree *t, bool is_dir)
{
    struct crash_node *node = mem_zalloc(sizeof *node);

    node->is_dir = is_dir;
    if (is_dir) {
        node->now = mem_zalloc(sizeof *node->now);
        node->durable = mem_zalloc(sizeof *node->durable);
    } else {
        node->file = crash_file_new();
    }
    list_push(&t->nodes, &node->link);
    return node;
}

static void node_free(struct crash_node *node)
{
    list_remove(&node->link);
    names_free(node->now);
    names_free(node->durable);
    crash_file_free(node->file);
    free(node);
}

static void change_free(struct change *c)
{
    list_remove(&c->link);
    free(c->name);
    free(c->from_name);
    free(c);
}

void crash_tree_init(struct crash_tree *t)
{
    list_init(&t->nodes);
    list_init(&t->changes);
    t->root = node_new(t, true);
    t->root->linked = true;
}

void crash_tree_release(struct crash_tree *t)
{
    LIST_FOR_EACH_SAFE (it, &t->changes) {
        change_free(container_of(it, struct change, link));
    }
    LIST_FOR_EACH_SAFE (it, &t->nodes) {
        node_free(container_of(it, struct crash_node, link));
    }
}

/* ---- paths ---- */

/* The next part of *path, copied; NULL at the end. */
static char *next_part(const char **path)
{
    const char *start = *path + strspn(*path, "/");
    size_t len = strcspn(start, "/");

    *path = start + len;
    if (len == 1 && *start == '.') {
        return next_part(path);
    }
    return len != 0 ? mem_printf("%.*s", (int)len, start) : NULL;
}

struct crash_node *crash_tree_find(struct crash_tree *t, const char *path)
{
    struct crash_node *node = t->root;
    char *part;

    while (node != NULL && (part = next_part(&path)) != NULL) {
        node = node->is_dir ? names_get(node->now, part) : NULL;
        free(part);
    }
    return node;
}

struct crash_node *crash_tree_parent(struct crash_tree *t, const char *path, const char **ret_name)
{
    const char *slash = strrchr(path, '/');
    struct crash_node *node;
    char *dir;

    *ret_name = slash != NULL ? slash + 1 : path;
    if (**ret_name == '\0') {
        return NULL;
    }
    dir = mem_printf("%.*s", (int)(*ret_name - path), path);
    node = crash_tree_find(t, dir);
    free(dir);
    return node != NULL && node->is_dir ? node : NULL;
}

bool crash_tree_is_empty(const struct crash_node *dir)
{
    return dir->now->count == 0;
}

void crash_tree_list(const struct crash_node *dir, struct buf *names_nul_terminated)
{
    for (size_t i = 0; i < dir->now->count; i++) {
        const char *text = dir->now->names[i].text;

        buf_put(names_nul_terminated, text, strlen(text) + 1);
    }
}

/* ---- changes ---- */

static void apply_now(struct crash_names *names, const char *name, struct crash_node *becomes)
{
    struct crash_node *old = names_get(names, name);

    if (old != NULL) {
        old->linked = false;
    }
    names_set(names, name, becomes);
    if (becomes != NULL) {
        becomes->linked = true;
    }
}

/* Also makes the change for those who look now. `from` is NULL but for a rename. */
static void add_change(struct crash_tree *t, uint64_t seq, const char *path,
                       struct crash_node *becomes, struct crash_node *subject, const char *from)
{
    struct change *c = mem_zalloc(sizeof *c);
    const char *name;

    c->seq = seq;
    c->dir = crash_tree_parent(t, path, &name);
    c->name = mem_strdup(name);
    c->becomes = becomes;
    c->subject = subject;
    if (from != NULL) {
        c->from_dir = crash_tree_parent(t, from, &name);
        c->from_name = mem_strdup(name);
        apply_now(c->from_dir->now, c->from_name, NULL);
    }
    apply_now(c->dir->now, c->name, becomes);
    list_push(&t->changes, &c->link);
}

struct crash_node *crash_tree_create(struct crash_tree *t, uint64_t seq, const char *path,
                                     bool is_dir)
{
    struct crash_node *node = node_new(t, is_dir);

    add_change(t, seq, path, node, node, NULL);
    return node;
}

void crash_tree_unlink(struct crash_tree *t, uint64_t seq, const char *path)
{
    add_change(t, seq, path, NULL, crash_tree_find(t, path), NULL);
}

void crash_tree_rename(struct crash_tree *t, uint64_t seq, const char *from, const char *to)
{
    struct crash_node *node = crash_tree_find(t, from);

    add_change(t, seq, to, node, node, from);
}

static bool is_name(const struct crash_node *dir, const char *name, const struct change *c)
{
    return (dir == c->dir && strcmp(name, c->name) == 0) ||
           (c->from_dir != NULL && dir == c->from_dir && strcmp(name, c->from_name) == 0);
}

static bool depends(const struct change *later, const struct change *earlier)
{
    return later->subject == earlier->subject || is_name(later->dir, later->name, earlier) ||
           (later->from_dir != NULL && is_name(later->from_dir, later->from_name, earlier));
}

/* Apply the changes marked `keep` and those they depend on. */
static void harden(struct crash_tree *t)
{
    for (struct list *l = t->changes.prev; l != &t->changes; l = l->prev) {
        const struct change *later = container_of(l, struct change, link);

        for (struct list *e = l->prev; later->keep && e != &t->changes; e = e->prev) {
            struct change *earlier = container_of(e, struct change, link);

            earlier->keep = earlier->keep || depends(later, earlier);
        }
    }
    LIST_FOR_EACH_SAFE (it, &t->changes) {
        struct change *c = container_of(it, struct change, link);

        if (!c->keep) {
            continue;
        }
        if (c->from_dir != NULL) {
            names_set(c->from_dir->durable, c->from_name, NULL);
        }
        names_set(c->dir->durable, c->name, c->becomes);
        change_free(c);
    }
}

void crash_tree_sync(struct crash_tree *t, struct crash_node *dir)
{
    LIST_FOR_EACH (it, &t->changes) {
        struct change *c = container_of(it, struct change, link);

        c->keep = c->dir == dir;
    }
    harden(t);
}

void crash_tree_list_changes(const struct crash_tree *t, struct buf *seqs)
{
    LIST_FOR_EACH (it, &t->changes) {
        buf_put_u64le(seqs, container_of(it, struct change, link)->seq);
    }
    LIST_FOR_EACH (it, &t->nodes) {
        const struct crash_node *node = container_of(it, struct crash_node, link);

        if (!node->is_dir) {
            crash_file_list_changes(node->file, seqs);
        }
    }
}

static void settle_node(struct crash_node *node, const struct crash_choice *choice)
{
    node->open_count = 0;
    if (!node->is_dir) {
        crash_file_settle(node->file, choice);
        return;
    }
    names_clear(node->now);
    for (size_t i = 0; i < node->durable->count; i++) {
        const struct name *n = &node->durable->names[i];

        names_set(node->now, n->text, n->node);
        n->node->linked = true;
    }
}

void crash_tree_settle(struct crash_tree *t, const struct crash_choice *choice)
{
    LIST_FOR_EACH (it, &t->changes) {
        struct change *c = container_of(it, struct change, link);

        c->keep = crash_choice_keep(choice, c->seq);
    }
    harden(t);
    LIST_FOR_EACH_SAFE (it, &t->changes) {
        change_free(container_of(it, struct change, link));
    }
    LIST_FOR_EACH (it, &t->nodes) {
        container_of(it, struct crash_node, link)->linked = false;
    }
    LIST_FOR_EACH (it, &t->nodes) {
        settle_node(container_of(it, struct crash_node, link), choice);
    }
    t->root->linked = true;
    crash_tree_collect(t);
}

static void mark(struct crash_node *node)
{
    if (node == NULL || node->marked) {
        return;
    }
    node->marked = true;
    if (node->is_dir) {
        for (size_t i = 0; i < node->now->count; i++) {
            mark(node->now->names[i].node);
        }
        for (size_t i = 0; i < node->durable->count; i++) {
            mark(node->durable->names[i].node);
        }
    }
}

void crash_tree_collect(struct crash_tree *t)
{
    LIST_FOR_EACH (it, &t->nodes) {
        container_of(it, struct crash_node, link)->marked = false;
    }
    mark(t->root);
    LIST_FOR_EACH (it, &t->changes) {
        const struct change *c = container_of(it, struct change, link);

        mark(c->dir);
        mark(c->from_dir);
        mark(c->becomes);
        mark(c->subject);
    }
    LIST_FOR_EACH (it, &t->nodes) {
        struct crash_node *node = container_of(it, struct crash_node, link);

        if (node->open_count != 0) {
            mark(node);
        }
    }
    LIST_FOR_EACH_SAFE (it, &t->nodes) {
        struct crash_node *node = container_of(it, struct crash_node, link);

        if (!node->marked) {
            node_free(node);
        }
    }
}
