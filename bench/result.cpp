#include "bench/result.h"

namespace potluck::bench {

bool weights_on_huge_pages(const BenchResult& result) {
    return 2 * result.weight_huge_bytes > result.weight_bytes;
}

Shares shares(const BenchResult& result) {
    Shares s;
    if (result.decode)
        s.tg_gbps = static_cast<double>(result.read_per_token_bytes) * result.decode->median / 1e9;
    if (result.prefill && result.pp > 0) {
        // The head sees only the last token of a prompt.
        const double weights =
            static_cast<double>(result.body_weights) +
            static_cast<double>(result.head_weights) / static_cast<double>(result.pp);
        s.pp_gops = 2 * weights * result.prefill->median / 1e9;
    }
    if (!result.limits) return s;
    const double read = weights_on_huge_pages(result) && result.limits->read_huge_gbps > 0
                            ? result.limits->read_huge_gbps
                            : result.limits->read_small_gbps;
    if (s.tg_gbps && read > 0) s.tg_share = *s.tg_gbps / read;
    if (s.pp_gops && result.limits->int8_gops > 0)
        s.pp_share = *s.pp_gops / result.limits->int8_gops;
    return s;
}

}  // namespace potluck::bench
