// Runs calls of a libpsal for another processor: tests/engine/remote.py writes them to stdin and reads the results from stdout. So
// the tests in Python, where torch lives, test that library on an emulator. In C, which a cross compiler builds in a moment.
//
//   server LIBRARY
//
// A call: length and name of a function, length and bytes of its struct, number of buffers, and for each of these a Header and,
// if it is sent, its content. The reply: length and text of the message; without one, the contents that are wanted back.
#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
  int64_t field, size, into;  // where the struct has its pointer; bytes of the buffer; how far into it the pointer points
  int32_t sent, wanted;
} Header;

static void take(void* data, size_t size) {
  if (size && fread(data, 1, size, stdin) != size) exit(0);  // the other process is done
}

static void give(const void* data, size_t size) {
  if (size && fwrite(data, 1, size, stdout) != size) exit(1);
}

static void* room(size_t size) {
  void* memory = malloc(size ? size : 1);
  if (!memory) exit(2);
  return memory;
}

static void serve(void* library) {
  uint32_t length, count;
  char name[64] = "", *args, *memory[16];
  Header headers[16];
  take(&length, sizeof length);
  if (length >= sizeof name) exit(3);
  take(name, length);
  take(&length, sizeof length);
  args = room(length);
  take(args, length);
  take(&count, sizeof count);
  if (count > 16) exit(3);
  for (uint32_t i = 0; i < count; ++i) {
    take(&headers[i], sizeof headers[i]);
    const size_t size = (size_t)headers[i].size;
    memory[i] = room(size);
    if (headers[i].sent) take(memory[i], size);
    else memset(memory[i], 0xa5, size);  // what is not written shows
    char* pointer = memory[i] + headers[i].into;
    memcpy(args + headers[i].field, &pointer, sizeof pointer);
  }
  const char* (*function)(const void*);
  *(void**)&function = dlsym(library, name);
  const char* message = function ? function(args) : "there is no such function";
  length = message ? (uint32_t)strlen(message) : 0;
  give(&length, sizeof length);
  give(message, length);
  for (uint32_t i = 0; i < count; ++i) {
    if (!message && headers[i].wanted) give(memory[i], (size_t)headers[i].size);
    free(memory[i]);
  }
  free(args);
  fflush(stdout);
}

int main(int count, char** arguments) {
  void* library = count > 1 ? dlopen(arguments[1], RTLD_NOW) : NULL;
  if (!library) {
    fprintf(stderr, "%s\n", count > 1 ? dlerror() : "which library?");
    return 1;
  }
  for (;;) serve(library);
}
