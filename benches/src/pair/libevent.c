/* A pair of the system's libevent, as the bench `pair` uses ours.
 *
 * What it uses of libevent is declared here, as the soname of the library fixes it: so the library alone will do, without
 * the headers.
 *
 *     pair                                     prints the version of the library
 *     pair WHAT HOW COUNT                      prints nanoseconds, of all together
 *         round_trip: COUNT times 64 bytes there and back; one_way: COUNT times 64 KiB, one after the other
 *         confined, or threadsafe: with mutexes, as evthread_use_pthreads does it
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct bufferevent;
struct evbuffer;
struct event_base;

typedef void (*data_cb)(struct bufferevent *, void *);

struct lock_callbacks {
    int version;
    unsigned kinds;
    void *(*alloc)(unsigned);
    void (*release)(void *, unsigned);
    int (*lock)(unsigned, void *);
    int (*unlock)(unsigned, void *);
};

const char *event_get_version(void);
int evthread_set_lock_callbacks(const struct lock_callbacks *);
void evthread_set_id_callback(unsigned long (*)(void));
struct event_base *event_base_new(void);
int event_base_loop(struct event_base *, int);
int event_base_loopbreak(struct event_base *);
int bufferevent_pair_new(struct event_base *, int, struct bufferevent *[2]);
void bufferevent_setcb(struct bufferevent *, data_cb, data_cb, void *, void *);
int bufferevent_enable(struct bufferevent *, short);
int bufferevent_write(struct bufferevent *, const void *, size_t);
struct evbuffer *bufferevent_get_input(struct bufferevent *);
struct evbuffer *bufferevent_get_output(struct bufferevent *);
size_t evbuffer_get_length(const struct evbuffer *);
int evbuffer_add_buffer(struct evbuffer *, struct evbuffer *);
int evbuffer_drain(struct evbuffer *, size_t);

#define EV_READ 0x02
#define EV_WRITE 0x04
#define NONBLOCK 0x02
#define THREADSAFE (1 << 1)
#define LOCK_VERSION 1
#define LOCK_RECURSIVE 1
#define LOCK_TRY 0x10

static struct event_base *base;
static unsigned long long left;
static int goes_back;

static void check(int failed, const char *what)
{
    if (failed) {
        fprintf(stderr, "%s failed\n", what);
        exit(1);
    }
}

static void *lock_alloc(unsigned kind)
{
    pthread_mutex_t *mutex = malloc(sizeof *mutex);
    pthread_mutexattr_t attributes;
    check(!mutex || pthread_mutexattr_init(&attributes), "a mutex");
    if (kind & LOCK_RECURSIVE)
        pthread_mutexattr_settype(&attributes, PTHREAD_MUTEX_RECURSIVE);
    check(pthread_mutex_init(mutex, &attributes), "a mutex");
    return mutex;
}

static void lock_release(void *mutex, unsigned kind)
{
    (void)kind;
    pthread_mutex_destroy(mutex);
    free(mutex);
}

static int lock(unsigned mode, void *mutex)
{
    return mode & LOCK_TRY ? pthread_mutex_trylock(mutex) : pthread_mutex_lock(mutex);
}

static int unlock(unsigned mode, void *mutex)
{
    (void)mode;
    return pthread_mutex_unlock(mutex);
}

static unsigned long self(void)
{
    return (unsigned long)pthread_self();
}

static void use_locks(void)
{
    static const struct lock_callbacks callbacks = {
        LOCK_VERSION, LOCK_RECURSIVE, lock_alloc, lock_release, lock, unlock,
    };
    check(evthread_set_lock_callbacks(&callbacks), "evthread_set_lock_callbacks");
    evthread_set_id_callback(self);
}

static void echo(struct bufferevent *bev, void *unused)
{
    (void)unused;
    evbuffer_add_buffer(bufferevent_get_output(bev), bufferevent_get_input(bev));
}

static void count(struct bufferevent *bev, void *unused)
{
    struct evbuffer *input = bufferevent_get_input(bev);
    size_t length = evbuffer_get_length(input);
    left -= length;
    if (goes_back && left > 0)
        echo(bev, unused);
    else
        evbuffer_drain(input, length);
    if (left == 0)
        event_base_loopbreak(base);
}

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1e9 + time.tv_nsec;
}

int main(int argc, char **argv)
{
    if (argc != 4) {
        puts(event_get_version());
        return argc != 1;
    }
    static char block[64 * 1024];
    int shared = !strcmp(argv[2], "threadsafe");
    unsigned long long number = strtoull(argv[3], NULL, 10);
    struct bufferevent *pair[2];

    goes_back = !strcmp(argv[1], "round_trip");
    if (shared)
        use_locks();
    check(!(base = event_base_new()), "event_base_new");
    check(bufferevent_pair_new(base, shared ? THREADSAFE : 0, pair), "bufferevent_pair_new");
    bufferevent_setcb(pair[0], goes_back ? count : echo, NULL, NULL, NULL);
    bufferevent_setcb(pair[1], goes_back ? echo : count, NULL, NULL, NULL);
    for (int half = 0; half < 2; half++)
        bufferevent_enable(pair[half], EV_READ | EV_WRITE);

    size_t size = goes_back ? 64 : sizeof block;
    unsigned long long writes = goes_back ? 1 : number, blocks = goes_back ? number : 1;
    double start = now();
    for (unsigned long long done = 0; done < writes; done++) {
        left = blocks * size;
        check(bufferevent_write(pair[0], block, size), "bufferevent_write");
        while (left > 0)
            check(event_base_loop(base, NONBLOCK) < 0, "event_base_loop");
    }
    printf("%.0f\n", now() - start);
    return 0;
}
