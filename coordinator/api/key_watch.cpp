#include "coordinator/api/key_watch.h"

#include <utility>

#include <boost/asio/post.hpp>

#include "base/log.h"

namespace potluck::coordinator::api {

namespace asio = boost::asio;

KeyWatch::KeyWatch(asio::io_context& loop, ServicePool& pool, std::string path, FileStamp stamp,
                   OnKeys on_keys)
    : loop_(loop),
      pool_(pool),
      path_(std::move(path)),
      stamp_(stamp),
      on_keys_(std::move(on_keys)),
      timer_(loop) {}

void KeyWatch::start(std::chrono::milliseconds interval) {
    interval_ = interval;
    tick();
}

void KeyWatch::read_now() {
    asked_ = true;
    look();
}

void KeyWatch::stop() {
    stopped_ = true;
    timer_.cancel();
}

void KeyWatch::tick() {
    timer_.expires_after(interval_);
    timer_.async_wait([self = shared_from_this()](const boost::system::error_code&) {
        if (self->stopped_) return;
        self->look();
        self->tick();
    });
}

/// One look at a time; when the pool is full, the next tick tries again.
void KeyWatch::look() {
    if (stopped_ || looking_) return;
    // The job holds no strong reference: it may be dropped, with the pool, on any thread.
    auto job = [weak = weak_from_this(), executor = loop_.get_executor(), path = path_,
                known = stamp_, asked = asked_] {
        FileStamp stamp;
        Looked looked;
        bool changed = true;
        if (auto now = stamp_of(path); !now) {
            looked = tl::make_unexpected(std::move(now.error()));
        } else {
            stamp = *now;
            changed = asked || stamp != known;
            if (changed) {
                auto file = read_key_file(path);
                if (file) {
                    stamp = file->stamp;
                    looked = std::move(file->keys);
                } else {
                    looked = tl::make_unexpected(std::move(file.error()));
                }
            }
        }
        asio::post(executor, [weak, changed, stamp, looked = std::move(looked)]() mutable {
            if (const auto self = weak.lock()) self->on_looked(changed, stamp, std::move(looked));
        });
    };
    if (!pool_.post(std::move(job))) return;
    looking_ = true;
    asked_ = false;
}

void KeyWatch::on_looked(bool changed, const FileStamp& stamp, Looked looked) {
    looking_ = false;
    if (stopped_) return;
    if (changed) {
        stamp_ = stamp;
        if (looked) {
            said_.clear();
            log::info("api: {} holds {} keys now", path_, looked->size());
            on_keys_(*std::move(looked));
        } else if (std::exchange(said_, looked.error().message) != looked.error().message) {
            log::warning("api: the keys stay as they were: {}", looked.error().message);
        }
    }
    if (asked_) look();
}

}  // namespace potluck::coordinator::api
