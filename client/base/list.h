/* Intrusive doubly linked list. A link that is on no list points at itself. */
#ifndef BASE_LIST_H
#define BASE_LIST_H

#include <stdbool.h>

struct list {
    struct list *next, *prev;
};

static inline void list_init(struct list *l)
{
    l->next = l->prev = l;
}

static inline bool list_empty(const struct list *l)
{
    return l->next == l;
}

static inline void list_push(struct list *l, struct list *link)
{
    link->prev = l->prev;
    link->next = l;
    l->prev->next = link;
    l->prev = link;
}

static inline void list_remove(struct list *link)
{
    link->prev->next = link->next;
    link->next->prev = link->prev;
    list_init(link);
}

static inline void list_push_front(struct list *l, struct list *link)
{
    link->next = l->next;
    link->prev = l;
    l->next->prev = link;
    l->next = link;
}

/* First link, taken off; NULL when empty. */
static inline struct list *list_pop(struct list *l)
{
    struct list *link = l->next;

    if (link == l) {
        return (struct list *)0;
    }
    list_remove(link);
    return link;
}

/* Move everything of `from` behind what is on `to`. */
static inline void list_splice(struct list *to, struct list *from)
{
    if (list_empty(from)) {
        return;
    }
    from->next->prev = to->prev;
    to->prev->next = from->next;
    from->prev->next = to;
    to->prev = from->prev;
    list_init(from);
}

/* The body may not remove `it`; use the _SAFE form for that. */
#define LIST_FOR_EACH(it, l) for (struct list *it = (l)->next; it != (l); it = it->next)

#define LIST_FOR_EACH_SAFE(it, l)                                                                  \
    for (struct list *it = (l)->next, *it##_next = it->next; it != (l);                            \
         it = it##_next, it##_next = it->next)

#endif
