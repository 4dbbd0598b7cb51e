// The arithmetic of sampler.cu, for the GPU and, to be tested without one, for the host.
//
// Each kernel is a struct: its operands, how many elements fit one 16-byte access (WIDTH), whether its operands lie
// so that this can be used, and what is done with the N elements from an index on. T is the storage type of the
// graphs' inputs and outputs, float or Half; arithmetic is in float, operation by operation as in reference.py (no
// fused multiply-add), so that both give the same bits.
#pragma once

#ifdef __CUDACC__
#define SEAS_FUNCTION __device__ inline

struct Half {  // two instructions instead of cuda_fp16.h, which NVRTC does not bring along
    unsigned short bits;

    Half() = default;
    SEAS_FUNCTION explicit Half(float value) { asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(value)); }
    SEAS_FUNCTION operator float() const {
        float value;
        asm("cvt.f32.f16 %0, %1;" : "=f"(value) : "h"(bits));
        return value;
    }
};
#else
#include <math.h>
#define SEAS_FUNCTION inline
using Half = _Float16;
#endif

using Byte = unsigned char;
using Long = long long;

// One row of the coefficient table, as reference.step_table makes it.
struct Step {
    float alpha, sigma, a, b, c, guidance;
};

template <class T, int N>
struct alignas(sizeof(T) * N < 16 ? sizeof(T) * N : 16) Pack {
    T lane[N];
};

template <int N, class T>
SEAS_FUNCTION Pack<T, N> load(const T* from) {
    return *reinterpret_cast<const Pack<T, N>*>(from);
}

template <class T, int N>
SEAS_FUNCTION void store(T* to, const Pack<T, N>& values) {
    *reinterpret_cast<Pack<T, N>*>(to) = values;
}

template <int N, class T>
SEAS_FUNCTION bool fits(const T* pointer) {
    return reinterpret_cast<unsigned long long>(pointer) % alignof(Pack<T, N>) == 0;
}

SEAS_FUNCTION bool finite(float value) { return value - value == 0.0f; }

// All `count` elements of a job, shared by `threads` threads: packs first, then what is left one by one.
template <class Job>
SEAS_FUNCTION void share(const Job& job, Long count, Long thread, Long threads) {
    const Long packs = job.aligned() ? count / Job::WIDTH : 0;
    for (Long pack = thread; pack < packs; pack += threads) job.template at<Job::WIDTH>(pack * Job::WIDTH);
    for (Long i = packs * Job::WIDTH + thread; i < count; i += threads) job.template at<1>(i);
}

// Guidance and one step of DPM-Solver++ (2M). With HALVES 2 `noise` is the conditional half and then the empty one;
// `next_latents` are written COPIES times, as the U-Net reads them next. They may be in the place of `latents`, and
// `clean` in that of `before`, which is not read where c is 0. Of a solver that adds noise `before` is that noise.
template <class T, int HALVES, int COPIES>
struct Update {
    static constexpr int WIDTH = 16 / sizeof(T);
    const T *noise, *latents, *before;
    Step step;
    T *next_latents, *clean;
    int* broken;
    Long count;

    SEAS_FUNCTION bool aligned() const {
        return fits<WIDTH>(noise) && fits<WIDTH>(latents) && fits<WIDTH>(before) &&
               fits<WIDTH>(next_latents) && fits<WIDTH>(clean) &&
               (HALVES * COPIES == 1 || count % WIDTH == 0);
    }

    template <int N>
    SEAS_FUNCTION void at(Long i) const {
        const Pack<T, N> conditional = load<N>(noise + i), entering = load<N>(latents + i);
        Pack<T, N> empty{}, last{}, leaving, prediction;
        if (HALVES == 2) empty = load<N>(noise + count + i);
        if (step.c != 0.0f) last = load<N>(before + i);
        bool good = true;
        for (int k = 0; k < N; ++k) {
            float guided = conditional.lane[k];
            good = good && finite(guided);
            if (HALVES == 2) {
                const float other = empty.lane[k];
                good = good && finite(other);
                guided = other + step.guidance * (guided - other);
            }
            const float x = entering.lane[k];
            const float x0 = (x - step.sigma * guided) / step.alpha;
            float y = step.a * x + step.b * x0;
            if (step.c != 0.0f) y = y + step.c * float(last.lane[k]);
            leaving.lane[k] = T(y);
            prediction.lane[k] = T(x0);
        }
        store(next_latents + i, leaving);
        if (COPIES == 2) store(next_latents + count + i, leaving);
        store(clean + i, prediction);
        if (!good) *broken = 1;
    }
};

// One image (3, plane) about [-1, 1] -> (plane, 3) bytes.
template <class T>
struct ToPixels {
    static constexpr int WIDTH = 16 / sizeof(T);
    const T* image;
    Byte* pixels;
    int* broken;
    Long plane;

    SEAS_FUNCTION bool aligned() const {
        return fits<WIDTH>(image) && fits<WIDTH>(pixels) && plane % WIDTH == 0;
    }

    template <int N>
    SEAS_FUNCTION void at(Long i) const {
        Byte levels[3 * N];
        bool good = true;
        for (int channel = 0; channel < 3; ++channel) {
            const Pack<T, N> values = load<N>(image + channel * plane + i);
            for (int k = 0; k < N; ++k) {
                const float value = values.lane[k];
                good = good && finite(value);
                const float clipped = value > -1.0f ? (value < 1.0f ? value : 1.0f) : -1.0f;  // NaN: -1
                levels[3 * k + channel] = Byte(rintf((clipped + 1.0f) * 127.5f));
            }
        }
        for (int part = 0; part < 3; ++part) {
            Pack<Byte, N> bytes;
            for (int k = 0; k < N; ++k) bytes.lane[k] = levels[part * N + k];
            store(pixels + 3 * i + part * N, bytes);
        }
        if (!good) *broken = 1;
    }
};

// total += probability
template <class T>
struct Accumulate {
    static constexpr int WIDTH = 16 / sizeof(T);
    const T* probability;
    float* total;
    int* broken;

    SEAS_FUNCTION bool aligned() const { return fits<WIDTH>(probability) && fits<WIDTH>(total); }

    template <int N>
    SEAS_FUNCTION void at(Long i) const {
        const Pack<T, N> values = load<N>(probability + i);
        Pack<float, N> sum = load<N>(total + i);
        bool good = true;
        for (int k = 0; k < N; ++k) {
            const float value = values.lane[k];
            good = good && finite(value);
            sum.lane[k] = sum.lane[k] + value;
        }
        store(total + i, sum);
        if (!good) *broken = 1;
    }
};

// 255 where total / steps is above the threshold, else 0.
struct Threshold {
    static constexpr int WIDTH = 4;
    const float* total;
    Byte* mask;
    float steps, threshold;

    SEAS_FUNCTION bool aligned() const { return fits<WIDTH>(total) && fits<WIDTH>(mask); }

    template <int N>
    SEAS_FUNCTION void at(Long i) const {
        const Pack<float, N> sum = load<N>(total + i);
        Pack<Byte, N> bytes;
        for (int k = 0; k < N; ++k) bytes.lane[k] = sum.lane[k] / steps > threshold ? 255 : 0;
        store(mask + i, bytes);
    }
};

// The row and the timestep of step `*counter`, which then moves on, from the last step to the first.
SEAS_FUNCTION void begin(const Step* table, const Long* timesteps, int steps, int* counter, Step* step,
                         Long* timestep, int rows) {
    const int now = *counter;
    *step = table[now];
    for (int row = 0; row < rows; ++row) timestep[row] = timesteps[now];
    *counter = now + 1 < steps ? now + 1 : 0;
}
