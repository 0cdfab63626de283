// What ext/cpu/threads.h promises, each case with loops whose bodies wait for each other, so that no case depends on time.
// Prints the case that fails and ends with 1. Built by tests/engine/build.py, and by .ci/sanitize under ThreadSanitizer.
#include "../../ext/cpu/threads.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <stdexcept>
#include <thread>
#include <vector>

using psal::parallel_for;

namespace {

void expect(bool holds, const char* what) {
  if (holds) return;
  fprintf(stderr, "failed: %s\n", what);
  _exit(1);
}

void wait_for(const std::atomic<int>& value, int wanted) {
  while (value.load() < wanted) std::this_thread::yield();
}

// Ends only if `threads` threads are in the loop at once.
void meet(int threads) {
  std::atomic<int> arrived{0};
  parallel_for(threads, 1, threads, [&](int64_t) {
    ++arrived;
    wait_for(arrived, threads);
  });
}

void every_index_once() {
  for (int threads = 1; threads <= 8; ++threads)
    for (int64_t grain : {1, 3, 1000}) {
      std::vector<int> times(100, 0);
      parallel_for(100, grain, threads, [&](int64_t i) { ++times[i]; });
      expect(times == std::vector<int>(100, 1), "each index exactly once");
    }
  parallel_for(0, 1, 4, [&](int64_t) { expect(false, "an empty loop has no body"); });
}

void one_thread_means_the_caller() {
  const auto caller = std::this_thread::get_id();
  parallel_for(100, 1, 1, [&](int64_t) { expect(std::this_thread::get_id() == caller, "one thread is the caller's"); });
}

void many_callers() {
  std::vector<std::thread> callers;
  for (int caller = 0; caller < 8; ++caller)
    callers.emplace_back([caller] {
      for (int round = 0; round < 200; ++round) {
        std::vector<int64_t> squares(64);
        parallel_for(64, 1 + round % 5, 1 + (caller + round) % 6, [&](int64_t i) { squares[i] = i * i + caller; });
        for (int64_t i = 0; i < 64; ++i) expect(squares[i] == i * i + caller, "a call among many has its own results");
      }
    });
  for (auto& caller : callers) caller.join();
}

// Two callers that ask for two threads each are two busy threads already: the worker that helped the first one leaves it, and
// none comes to the second before the first is done. The pauses make no case pass; they give a wrong pool time to be wrong.
void callers_count_as_threads() {
  std::atomic<int> inside{0}, second_began{0}, finish{0};
  std::thread first([&] {
    const auto caller = std::this_thread::get_id();
    parallel_for(1000, 1, 2, [&](int64_t) {
      const bool calling = std::this_thread::get_id() == caller;
      if (++inside > 2) {
        expect(calling || finish, "a worker leaves when a caller comes");
        return;
      }
      wait_for(inside, 2);
      wait_for(second_began, 1);
      if (calling) wait_for(finish, 1);
    });
  });
  wait_for(inside, 2);
  const auto second = std::this_thread::get_id();
  std::atomic<int> last{0};
  parallel_for(100, 1, 2, [&](int64_t i) {
    second_began = 1;
    std::this_thread::sleep_for(std::chrono::microseconds(20));
    if (i < 98) {
      expect(std::this_thread::get_id() == second, "no worker joins while as many threads are busy as were asked for");
      return;
    }
    ++last;
    finish = 1;
    wait_for(last, 2);  // ends only if the end of the first call brings a worker
  });
  first.join();
}

void exceptions() {
  for (int thrower = 0; thrower < 2; ++thrower) {  // on the calling thread, on a worker
    const auto caller = std::this_thread::get_id();
    std::atomic<int> arrived{0};
    bool caught = false;
    try {
      parallel_for(1000, 1, 2, [&](int64_t) {
        if (++arrived <= 2) wait_for(arrived, 2);
        if ((std::this_thread::get_id() == caller) == (thrower == 0)) throw std::runtime_error("thrown");
      });
    } catch (const std::runtime_error&) {
      caught = true;
    }
    expect(caught, "what a body throws reaches the caller");
    meet(3);
  }
}

void nested() {
  std::atomic<int> count{0};
  parallel_for(8, 1, 4, [&](int64_t) { parallel_for(8, 1, 4, [&](int64_t) { ++count; }); });
  expect(count == 64, "a loop in a loop");
}

// Children of a process whose pool is in use, and so perhaps locked at that moment.
void forks() {
  std::atomic<int> stop{0};
  std::thread busy([&] {
    while (!stop) parallel_for(16, 1, 3, [](int64_t) {});
  });
  for (int i = 0; i < 50; ++i) {
    const pid_t child = fork();
    if (child == 0) {
      alarm(60);
      meet(4);
      _exit(0);
    }
    int status = -1;
    waitpid(child, &status, 0);
    expect(WIFEXITED(status) && WEXITSTATUS(status) == 0, "a child has a pool of its own");
  }
  stop = 1;
  busy.join();
  meet(4);
}

}  // namespace

int main(int count, char**) {
  every_index_once();
  one_thread_means_the_caller();
  meet(5);
  many_callers();
  for (int i = 0; i < 20; ++i) callers_count_as_threads();
  exceptions();
  nested();
  if (count == 1) forks();  // an argument leaves them out: ThreadSanitizer lets a forked child start no threads
  puts("pool: all cases hold");
}
