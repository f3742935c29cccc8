-- Sends the tokens of a file, one a request, in its order: from the beginning again at its end, or ("once") never one
-- twice. The requests are put together by hand; wrk.format would cost the client more than sending them.
local lines, once, head, last

function init(arguments)
  local path = arguments[1]
  once = arguments[2] == "once"
  head = "GET " .. wrk.path .. " HTTP/1.1\r\nHost: " .. wrk.headers["Host"]
    .. "\r\nUser-Agent: load\r\nAuthorization: Bearer "
  lines = io.lines(path)
  if not once then
    local all, at = {}, 0
    for line in lines do all[#all + 1] = line end
    lines = function()
      at = at % #all + 1
      return all[at]
    end
  end
end

function request()
  local token = lines and lines()
  if token then
    last = token
  else
    -- Reading on after the end is an error in Lua. The few requests under way repeat the last token.
    lines = nil
    wrk.thread:stop()
  end
  return head .. last .. "\r\n\r\n"
end
