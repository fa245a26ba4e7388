#include "tests/conformance/transport/world.h"
#include "transport/sim.h"

namespace potluck::transport {
namespace {

constexpr std::size_t kManyEvents = 5'000'000;

class SimWorld final : public World {
  public:
    SimWorld()
        : server_(network_.transport("cellar")),
          client_(network_.transport("attic")),
          away_(network_.transport("shed")) {
        network_.cut("attic", "shed");
    }
    Transport& server() override { return *server_; }
    Transport& client() override { return *client_; }
    std::string any_address() const override { return "cellar:0"; }
    std::string refusing_address() override { return "cellar:9"; }
    std::string silent_address() override { return "shed:7000"; }
    bool step() override { return network_.step(); }
    bool run_until(const std::function<bool()>& done) override {
        for (std::size_t i = 0; i < kManyEvents && !done(); ++i)
            if (!network_.step()) break;
        return done();
    }
    void settle() override { EXPECT_LT(network_.run_until_idle(kManyEvents), kManyEvents); }

  private:
    SimNetwork network_;
    std::unique_ptr<Transport> server_;
    std::unique_ptr<Transport> client_;
    std::unique_ptr<Transport> away_;
};

}  // namespace

std::unique_ptr<World> make_sim_world() {
    return std::make_unique<SimWorld>();
}

}  // namespace potluck::transport
