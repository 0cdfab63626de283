// The pool behind threads.h: one for the process, shared by all calls.
//
// At most max(threads, callers) threads work at any time. A caller always works on its own loop; a worker joins one only while
// fewer threads are busy than that call asked for, and leaves it between two chunks when new callers make them more. So calls
// from many Python threads, or from inside a parallel region of torch, share the cores instead of multiplying the threads.
#include "threads.h"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <new>
#include <thread>

#if !defined(_WIN32)
#include <pthread.h>
#include <signal.h>
#endif

namespace psal {
namespace {

constexpr int kMostThreads = 1024;  // more are not started, whatever is asked for: as many as `psal --threads` takes

// One call of run_chunks, on its caller's stack.
struct Job {
  const Chunk chunk;
  const void* const body;
  const int64_t count, grain;
  const int threads;
  std::atomic<int64_t> next{0};  // where the first chunk begins that nobody has taken
  int helpers = 0;               // this and the rest: with the pool's lock held
  std::exception_ptr error{};
  std::condition_variable no_helpers{};
  Job* following = nullptr;
};

struct Pool {
  std::mutex lock;
  std::condition_variable job_or_room;  // what workers sleep on: nobody spins, which would take time from torch's threads
  Job* jobs = nullptr;
  int workers = 0;
  std::atomic<int> busy{0};  // callers and workers inside a job; changes with the lock held
};

// Never destroyed: workers sleep in it until the process ends, and may outlive the destructors of static objects.
Pool& pool = *new Pool;

#if !defined(_WIN32)
// A fork copies one thread and the pool as it was, perhaps locked: the child begins with a pool without workers.
void begin_anew() { new (&pool) Pool; }
const int registered = pthread_atfork(nullptr, nullptr, begin_anew);
#endif

void work(Job& job, bool helping) {
  try {
    while (!helping || pool.busy.load(std::memory_order_relaxed) <= job.threads) {
      const int64_t begin = job.next.fetch_add(job.grain, std::memory_order_relaxed);
      if (begin >= job.count) return;
      job.chunk(job.body, begin, std::min(begin + job.grain, job.count));
    }
  } catch (...) {
    const std::lock_guard<std::mutex> held(pool.lock);
    if (!job.error) job.error = std::current_exception();
    job.next.store(job.count, std::memory_order_relaxed);
  }
}

// The job with the fewest helpers among those that may have one more; the pool's lock is held.
Job* needy_job() {
  Job* found = nullptr;
  for (Job* job = pool.jobs; job; job = job->following) {
    const bool open = job->next.load(std::memory_order_relaxed) < job->count;
    if (open && pool.busy < job->threads && (!found || job->helpers < found->helpers)) found = job;
  }
  return found;
}

void worker() {
  std::unique_lock<std::mutex> held(pool.lock);
  for (;;) {
    Job* const job = needy_job();
    if (!job) {
      pool.job_or_room.wait(held);
      continue;
    }
    ++pool.busy;
    ++job->helpers;
    held.unlock();
    work(*job, true);
    held.lock();
    --pool.busy;
    if (--job->helpers == 0) job->no_helpers.notify_one();  // still locked: the job is gone once its caller sees this
  }
}

// Starts workers until there are `wanted`, or as many as the system allows; the pool's lock is held.
void hire(int wanted) {
  if (pool.workers >= wanted) return;
#if !defined(_WIN32)
  sigset_t all, before;  // signals are for the threads of the host program, whose system calls they must interrupt
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
#endif
  try {
    for (; pool.workers < wanted; ++pool.workers) std::thread(worker).detach();
  } catch (const std::exception&) {  // no thread or no memory to be had: fewer do the same work
  }
#if !defined(_WIN32)
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
#endif
}

}  // namespace

void run_chunks(int64_t count, int64_t grain, int threads, Chunk chunk, const void* body) {
  threads = std::min(threads, kMostThreads);
  const int64_t helpers = std::min<int64_t>(threads, (count + grain - 1) / grain) - 1;
  if (helpers <= 0) {
    if (count > 0) chunk(body, 0, count);
    return;
  }
  Job job{chunk, body, count, grain, threads};
  {
    const std::lock_guard<std::mutex> held(pool.lock);
    ++pool.busy;
    job.following = pool.jobs;
    pool.jobs = &job;
    hire((int)helpers);
  }
  for (int64_t i = 0; i < helpers; ++i) pool.job_or_room.notify_one();
  work(job, false);
  {
    std::unique_lock<std::mutex> held(pool.lock);
    Job** link = &pool.jobs;
    while (*link != &job) link = &(*link)->following;
    *link = job.following;
    --pool.busy;
    job.no_helpers.wait(held, [&] { return job.helpers == 0; });
    if (pool.jobs) pool.job_or_room.notify_one();  // there is room for a worker in another job
  }
  if (job.error) std::rethrow_exception(job.error);
}

}  // namespace psal
