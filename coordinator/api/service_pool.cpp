#include "coordinator/api/service_pool.h"

#include <atomic>
#include <utility>

#include <boost/asio/post.hpp>
#include <boost/asio/thread_pool.hpp>

namespace potluck::coordinator::api {

struct ServicePool::Impl {
    Impl(std::size_t thread_count, std::size_t bound) : max_jobs(bound), threads(thread_count) {}

    const std::size_t max_jobs;
    std::atomic<std::size_t> jobs{0};
    boost::asio::thread_pool threads;  // last: its threads use the counter
};

ServicePool::ServicePool(std::size_t threads, std::size_t max_jobs)
    : impl_(std::make_unique<Impl>(threads, max_jobs)) {}

ServicePool::~ServicePool() {
    impl_->threads.stop();
    impl_->threads.join();
}

bool ServicePool::post(std::function<void()> job) {
    if (impl_->jobs.fetch_add(1) >= impl_->max_jobs) {
        impl_->jobs.fetch_sub(1);
        return false;
    }
    boost::asio::post(impl_->threads, [this, job = std::move(job)]() mutable {
        job();
        job = nullptr;  // what it holds goes before the place is free
        impl_->jobs.fetch_sub(1);
    });
    return true;
}

}  // namespace potluck::coordinator::api
