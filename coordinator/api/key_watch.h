#pragma once

// Reads the keys file again when it changes. The disk is asked on the service pool; everything else
// is the loop thread's.

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>

#include "coordinator/api/key_file.h"
#include "coordinator/api/service_pool.h"

namespace potluck::coordinator::api {

class KeyWatch : public std::enable_shared_from_this<KeyWatch> {
  public:
    using OnKeys = std::function<void(std::vector<ApiKey>)>;

    /// `stamp`: of what was read last. `loop` and `pool` must live until stop().
    KeyWatch(boost::asio::io_context& loop, ServicePool& pool, std::string path, FileStamp stamp,
             OnKeys on_keys);

    /// Looks every `interval` until stop(). What cannot be read changes nothing and is logged once.
    void start(std::chrono::milliseconds interval);
    /// Reads the file soon, whether it changed or not.
    void read_now();
    void stop();

  private:
    using Looked = Result<std::vector<ApiKey>>;

    void tick();
    void look();
    /// `changed`: there is something new to say.
    void on_looked(bool changed, const FileStamp& stamp, Looked looked);

    boost::asio::io_context& loop_;
    ServicePool& pool_;
    const std::string path_;
    FileStamp stamp_;
    OnKeys on_keys_;
    boost::asio::steady_timer timer_;
    std::chrono::milliseconds interval_{0};
    std::string said_;      ///< the last error: it is not said again every second
    bool asked_ = false;    ///< by read_now()
    bool looking_ = false;  ///< a job is on the pool
    bool stopped_ = false;
};

}  // namespace potluck::coordinator::api
