#pragma once

// Where machines without a certificate get one: the only thing that the coordinator does for those
// who have proved nothing. It takes a greeting and a join token's secret, says yes or no, and hangs
// up. Nothing else of the coordinator can be reached from here.
//
// The number of visitors, their bytes (the transport's bounds) and their time are bounded; refusals
// are counted and logged once per host. A refusal writes nothing; an enrolment writes the registry,
// which takes some milliseconds of the loop.
//
// Thread: the loop's.

#include <chrono>
#include <cstdint>
#include <memory>

#include <boost/asio/io_context.hpp>

#include "security/state_files.h"
#include "transport/api.h"

namespace potluck::coordinator {

inline constexpr std::size_t kMaxEnrolling = 8;
inline constexpr std::chrono::seconds kEnrolmentTimeout{10};

class EnrolmentDesk {
  public:
    /// `validity`: of the certificates that it gives out.
    EnrolmentDesk(boost::asio::io_context& loop, security::Authority authority,
                  std::unique_ptr<security::Registry> registry,
                  std::chrono::seconds validity = security::kNodeValidity);
    ~EnrolmentDesk();
    EnrolmentDesk(const EnrolmentDesk&) = delete;
    EnrolmentDesk& operator=(const EnrolmentDesk&) = delete;

    /// A connection whose other side showed no certificate.
    void accept(std::shared_ptr<transport::Connection> connection);
    /// Visitors that were turned away so far.
    std::uint64_t refused() const;

  private:
    struct Impl;
    std::shared_ptr<Impl> impl_;  ///< callbacks of connections hold it weakly
};

}  // namespace potluck::coordinator
