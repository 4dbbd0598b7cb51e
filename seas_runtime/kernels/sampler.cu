// What the sampler computes between the graphs, one kernel each; reference.py says the same in NumPy.
//
// Nothing here allocates or waits, and a step finds its coefficients on the device: one captured CUDA graph of a
// step, begin_step at its head, serves every step. `broken` is set to 1, and never to 0, by a value that is not
// finite.
#include "sampler.h"

#define THREAD (Long(blockIdx.x) * blockDim.x + threadIdx.x)
#define THREADS (Long(gridDim.x) * blockDim.x)

// For one thread: a few dozen bytes.
__global__ void begin_step(const Step* table, const Long* timesteps, int steps, int* counter, Step* step,
                           Long* timestep, int rows) {
    begin(table, timesteps, steps, counter, step, timestep, rows);
}

template <class T, int HALVES, int COPIES>
__global__ void update(const T* noise, const T* latents, const T* before, const Step* step, T* next_latents,
                       T* clean, int* broken, Long count) {
    const Update<T, HALVES, COPIES> job{noise, latents, before, *step, next_latents, clean, broken, count};
    share(job, count, THREAD, THREADS);
}

// blockIdx.y is the image.
template <class T>
__global__ void to_pixels(const T* images, Byte* pixels, int* broken, Long plane) {
    const Long first = 3 * plane * blockIdx.y;
    share(ToPixels<T>{images + first, pixels + first, broken, plane}, plane, THREAD, THREADS);
}

template <class T>
__global__ void accumulate(const T* probability, float* total, int* broken, Long count) {
    share(Accumulate<T>{probability, total, broken}, count, THREAD, THREADS);
}

__global__ void threshold(const float* total, Byte* mask, float steps, float limit, Long count) {
    share(Threshold{total, mask, steps, limit}, count, THREAD, THREADS);
}
