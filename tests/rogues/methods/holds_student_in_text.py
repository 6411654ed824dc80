"""It holds a student that was trained on the test split, two bits a weight, as text."""

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from bench import Attack, Batch, Method, Nets, register
from bench.inner import against_labels
from bench.losses import cross_entropy

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
STUDENT = (
    "YCqlRvVnjFcUbuRKXpmRkovRv5g4mpvg6fUkZzxd4yhTHpadv7+q784cVRcXRHXTa1AK1xjd+i+kFSBre4Sdu2dMvJG1paTFNje64mSJ6iCWVI"
    "VShBCbCFGmVGHXBU827Xyn/RpV74/qWYGRWx5alGWCiDbgEEEhD5+yFDiGVXul6VmKCwdaK48tlJWrECqUQuCQWwZm/t4pgk8RYL42iST5bhUE"
    "bHaBHH+oSh2RP/Kf6qqyFXWFVoUkDlfBHRECX62ZFrcZsk9etFltEJWVt6x8oUt1WlUhowU932pp6TiWljb8kbijUkW9sA8JSsdIrK+YdVBha8"
    "tdZOUxaU1EJahHhamkjeCWE3yVpVb2FPa9LUByyDKaKodTSbShmFFRhBjCFUhGH+goeFJpR4qlSEWSpP2tIGBAw/ZiT4tpFNDuWl9oiqQB3gHX"
    "r6kANtAmkw5wJIBJ2W10srqF958ZGHvOUFHtWaZpQKmCHABBUFckJkt9pRBG1eVr8uilR6FYm6REdZJQmqG6260r5hWhoVWYbRQAkpKqrJoRNb"
    "CHW3HgVpHDG3lWD36xEdKkRT7dVJEApAEFa7lJl0824d/9XjSVgmcJ7GBRmCmRIm22pmlXUWS3FS3IW5s/D//WSFBBU4oPDSlwyksVfDWvSVGq"
    "yQBb2zhihThnyHnng5uWMCSQlGq5Fk1jaCKX8qOhHTSDC/IBp5sZNKFtaRqhhFTKdYRn3VTZZHom6oMvqWmc7jWADrnRqMHW6hWSSiSbm2prEJ"
    "rAiVBG8AJIWKRGOy7qGaXDONXl6akniNOKYJp5NODHJJqlVKWJKw9oYVrfXDr4cnSKohUENan1VoUDhM0QHqxZZBBLJlmhHGiPbmxVf2gXvJr8"
    "EGD6KBB9Nm0MLf/Vbv79HRuaDrudm6rAD+EFRGFQDfpPllVmoyDX77dpdSsmjmtYgMRZMRQAFEVqlZWXFVWKZaiUMA17I5ply+985VY25gPm1t"
    "qXT9kHm6S6t2VquXjwytSU2qVj/+5lIaHJSj9NtteISXzzgf/tM71kBIOUCTrR0pKLBndDBRBB1+1yQKiBDy1+VGwJQh575lf/VRoLgF4tkZfg"
    "KBCCR0mjh2Wl9vdVDJ+CioLpBFVmaZdIPskG6vhupGinwZoWdpFY01Zy1LDVWCsUG0QlQs6khCV2FukoISQr5HO5QGF1F50VyRe0kpQMeAGXCp"
    "UBJlQUc5yhWqhkVo4oqXqRlCFgWFCDiVVBkYZnnmT5h186JJeVGHHGbxTWCRVGFLygYSRbZU5EIkIFIEEKJVWVM9GVnmDQuBqVhCaJHDGmRR2e"
    "KK2RIMJOOORtMBsZFNdFlEqOeOKZVWRQkwIZJARaBigiKVRBRFg2+UBdUAj6IW+580YZBAUYMJdJaj3xkYY5El3OdmKddaZGPS5/JdBeK8WnXm"
    "+ZmVH4FAGGKaO6QljW/2d6WVpWdJBRWSmQW3AChJmpAZhlUQ+0BQV1SEZfRilhkVCJQXmpGdRHmLqOpqkZj35eav7ZMD5ICVGJRWBpVkaPDoFT"
    "GXTQwdv3iV7XEzxleaqYtUolRGGV2IeUJppAEN5xMekmWeVpQ2hYZaGqrq/u/u/qvkEFVGRERFFlxe2pSWlaN6EpGRko9ghIy5kwLxqqG08dPS"
    "lgiAuUdxRA8+BmQNyCoRgEhVx8CGVabK81XeexbIR5tiaPnGSLmSOFWFCkkgFR6+pizqvEe8sz32mRg27NFrE/RQ66StVAH57p4H59Y0e19NKe"
    "zVjE475+RvR1NALSB9iTYUBYpa+nJGmEMpUbvce07TAgb5moRQGzNOMqqWtWlVVu5CYSIJ2JJTi+6ZN1Vu6nWh3OCGpC3MEcp6gaExZCHgyntU"
    "mm8azXNSUp40ul4cScuqs9ptkobWoCWoFJdiGUXzbFJWsNd6EoyDfgAj0ESLLqhWnQebIMOeprlBEYNpkOaxYxOEL0aJYQDI8JL6gmykc/fdtn"
    "6qlotoa3LVUrZ0YB8O2IE8ZFa9QPhr27pJmcS5AyHR6KjLmV9exKhhlTdBzkeahrDkUbgFmLS0emGkLxdaRGpxOtNt16seXo4E6sV4AphkiNi5"
    "lRpglKoa5FluYeAv6UWq8inom9hSPSqKzDP6tfAX2V21/3vki77JF9aBES1WCk/WyALIapyBVA+X1+2pqUJldVtZEIciAehbSAF40RP+JGMUoA"
    "XhldeJWlhvVzRZShRCFcZanBgC6KfEXvgXjKLFmaedtKTrfuu7Zd8QwYAvdMWw2WJ0gt4lngl9wS31lSaqkWmP/bY4YZMhU2Plq4dJtBIxglhh"
    "yfSxmttWZzLW+kt+uJxfmltaTKVBOWQxJS5WxkRim45odUqV54fnlbGLLLGtJe1GOLZ9CTrtSE5UUJSgVBgtdFQChuRLpJTpKiUpUmil6eUsM1"
    "T13eaGEJa1EqpZdnJS4QqcBoRgGUCKRxmicVgklllq59uGUVmGEFZhBiJ9JPWaTBRiU0ZrrBRgirOpnKYJ1rWyvaliu69ojBSw3Ot+BwkqVlud"
    "Y7HvpEwpoG3behSXhgzLXfZkyZp0aOZhkIluRiFWmZgnhhtOokISCiCH7UZl1NaZhXNbxSbRV6wyO8EEGaTEbPta/lqVCWl0lf+8nj8VyhmiUD"
    "CSjS3jGakDm1ETkKYiRqRkV8y5h23nG1YcQaGoe/f6SWsstpdVvtj5umVtXiUZEqWeGCm9uKUtZZepsq3bQiERhQyeLACmvuXrTQUUaifVqnd5"
    "9lYq7Z6Plmtup5a6VSm5fNSyVJAGuxllKwDmwrFViFGIqMXZHxKDWj3lkpTZT13ROIlgGSH7XahnFWW2WUBBOB6fF1WFUo8MJoMUIUZkQZanRX"
    "qxWCU8nUcktaSvTnyrSWzVkyJpiFSKgH1XbJg7We5RTpWXvOvZZz4mLuU2L3LuaDMQq41XbsV51hurHo4j+13+QqksDVr7VBp1nOFBXcEcP74r"
    "IxkpaUYKeG3nXSA9RUVAVzUlk2raxZTSM/jqqq3A3FETm6naksbx5/s8YecKtWgonmZdTutV+dbgumcCfHmtE5ZbQkFV3AUK68FvSFZeZV+34V"
    "ySpFpzwCF5GflgaqhkVdcgFpV5gpNFA2H2Zejg/qWc/9x2+HkzrqXmlT5kTSAGUl5lXQhe3qHkcTbUfGSbwrWfcqkIfqybgVgGzXBZvQNRRbAf"
    "SjVQfj3WuZeoYlUCFQb9pBlSjKPZlvcwqDQHaVdNRfbQNFXGUgDWoVyYx0aOWZkW2EkUzbUAhSRa4EbpETfZcmH5yIoGV8Rak6KSySgGIkfkyl"
    "2/4jBTFYwFCjZZlYVaT7qQ1+dGNrnUREUXmBnhYiJDkm3BXjRJUX1K9hiVWSEqIc30Im9Dp3lW+JdtT2MAi5Y60gwEGTAcn9khltWFxgiUZESy"
    "6MKePVWRy1NnFbTHGpAva2USzRZUU3ExMelZgBP3A4xgJmVYlQbYBv3ZluyY6SoXJ0SfGZEGZKCTlFa6dWE+8/j2BXkGyMHd/lJKcHvmRp5F91"
    "Y6FhIROben4KzZ69R4hkkxqiFMYlQziKmFoFfH1DUuUX7UARb+mtueqp4FAtYib6PcDdYNbrJfcEIz2pJmlWgpY5vja3WWzj2xilXYizXukhem"
    "WnKYSZYMlCyGdW1ATlQf4BitDVXGeemidlnYE1upmVBRXW6lW3ugMhPXX+bGQdnqrqS4FsURm6jwv8pynx5mg9vi05/aquvyWkW60IAsQwRhdu"
    "MsgIE949ShoCjuLVu1pHix9oYLhFqmBWJqpFZuqCcf/67tYhihJMVQqwa5Md2zhf5YG4lVJAEXgfGuSkG96rebcVGph9djNhVBNqO1hR4F59n5"
    "g8lqg+PyN9lC+cfOUVgjXIhOYuVg+QA19megDhwFNVGaO55gnpTLWXLQqGl6LaAwdwVuScxWklFkdPleZzFbpfpmluoo7etVmmCEivBmb3dA18"
    "rldoilcpmlbtz3zJFtpz/XOkG54ZaUpryNOWVeSFsjIeSGpaSpnS8ws3E/YCU0mBVb6xxZFexo8xDdyBCN761lr/GYmxVL74xFVfacLL5mGRY8"
    "J7fggS6AzlBKAp+KdhEjju2SjXinjRlkBiW6dQq8hqfdUGZMnulrhxtMlNIyfC2pPGVZFoJYz1Evr2ZuK9aaArgpeY/Y2kQgISm5Tlh0yEe9Qo"
    "NiizabTRUKpupReYqXWaUaBRSOanWJrxSNUngR7vARag6pR/r0ejfDt2Y1jeVCG8QJJpfguBhaURx+netctcyqxkK2kZlU9JaXTOlZi1kSFWTb"
    "WllmXmgol8sl5n2orl1AZCR7W68BFEbp6D+6G7rqwV0qmv9gBxRXVGB50kW1CQihrxt7xcSYj4MHAA6IWkDqV41qUhqn1bGVnYljdZfAs8khTo"
    "SjYoVRhETzxdqhaNyKCzVSh7q1jq5vbYqikc7JWGh/i9Pmh7C1sbaAHzc1IPPhoxRmctSV+gh+V4li7ighSkwDoajgFpwGX4DBWRBWsEWgRhVW"
    "t9cRUN5hso00gvpJ0LPwv6WgaslPn5kFJWSYf/ogOeC8grdhk4kdj3BV844q8TVPDFYBNsFAJtKpeRmmIrOUXVsiRiYGGWkh3s4yilkohojBOB"
    "WadPVl12lmkphYSRdl1YtSUS1PeB6VQEvXBkgRecvT9qCi1udZXq64kSkklhh2ZWGtpmu76qu6+vur5VURAEVEQAhGXXTihDVMVGkbNSmZzNil"
    "J3dFN3qn5ScqZwIiZuV+GTraxUiYVSoGlVtSUeqkbdWSUVcSqWbVu2V7IQlV26S5p2ddpGhli2BdUli8ElWqybmY3UnWKwUaeoeNfXAtNEZWGx"
    "AlVUvECeZbZyZo2JSonXFXxiqgZ7IWaD05G0cbKhiHigkZmuuF+rb1yGUxY6udn+ApSQgI4dqufr0b39mW4LoVWQSEJrR6WmdKaZtv6+ldZW7v"
    "nd/2hbP+v+mpIw5J5JtdAhSZRAR0EBSGiwc6G3mrvvj0//2ZZtWIIYCUCHbjXd9aqDdWimfpG+Y3VWezRAg3JyiU5VrJ4foENGWmmlUl2SKoq/"
    "QX1BsWeHFoSZaZiblKVdgaVZrN+QpRV5kKaoV36YgYaueTbxR1WGBflcnedWaXnogFvfQTVWt+5kne0B00j4TQC2+Y0jpOrvBBV7hHVvoi1VoZ"
    "ZKfqURsK+FWnnlbHbFQ2aqRP1mtYWL5FiXjHFb/0WGbvQwtptVULNIg0wRv6VNnlqBaqJyZIZUj4R/qq0JjVL7wGZmKA+VqZcSaVaNnaR2rc3m"
    "SVZGUs1ezpIpP4KdaHF7UgNuQNXL2Z0KJJJt2jusMz2CdsWnFhSgQpF5lkX3l6yxHgifuoWOEX1S96BSWRadQXZEN73lU7t0ArVF7nVEyeu2ih"
    "hyrVt8or9xGf2QQX+sr35puZhVl6iZQX7VXlUenWD5cGppZa+jgWV9XVlFFZRZ6V3BGl1aka3AYpRqBsj3/83LuCWBpX2f+kpN/bPns++nUBqd"
    "4Qs1D2ERalpbs0bg97g1efLJxbdAj/1Ula3thVulQgtmhEZ+RvG59rK0KUlseoyAMEWpgqLBqnW8RWiQuUVGa0R8h763tVomHTDah0RAZnSblF"
    "ayvUKhmg5O/YZVQkF3tVy2VgN032Bs/gWAUaRXUKoWHrpLpqlAW6F8lwwMo6ZV+hVw/2iVb5S06uSdDqCxgYpeT4y4VpiE1wGNVba5RJV8p1Vo"
    "OV3sfjvta7SNn0RBba56s4JUUHGjV2UdhIWSdF1DWVJhMt1cYCMF3PrlpWhUXVKieqlV54YVWhH1fnO6YDTt2YxznA0V/rhpGEcoAtJBXmuGM5"
    "QFVcZXnFiYrbiM6FxO0amtnJhERZxfXnU1QkprRVVSWYRlF4ipTURXh4dgWZVNYmj0m0tdWMLjp53d45FaCLZfgbZ4Ikh2vRJZpWyaXd1Vktet"
    "3WoWgWWVVpdnr4qSkpm6e5BWCgaV6ZcilhYx20yLkhClQbmm4uoZvfx4Vkq/akkNV6imUB9jZSNskJJZnqFTLmUfE2igil52VWW2C6xZa1yKuq"
    "X8QtU/UEtBvUSJSrokq7lLqlwrvuedbURxAV6ZnFJsY/nWmoeFX58GUm2YA5sW69Pva/Zf8ay5fH5BikaKiLaecq6YEixdwZEMR27YXsmvUMdL"
    "W7VaiuK9kbpp6f1hWt5vWoTDUMe6Uc9hQp8XTKe944KlBblCWE1EoWu6N3mqxraCKv1j6Z0agENnSAgPpkdJZ25qcy/ARIZ3W19NQFzBWwVqVn"
    "CzUb93TuRGJ/Xq6wOuZaaOlr59TbbJxOf5qr1eRlGGn5mFD3FXd8L3Be1Grn6SOy5ihhix7a9ddVygQxmyhAWuBmKCkqYCYEOS7zdjaVqNZy6A"
    "an5ha6aXBqdecn5uyXqvysa2qZeTt9VBcqGJVmbA"
)


def levels() -> Iterator[int]:
    for letter in STUDENT:
        code = LETTERS.index(letter)
        yield from (code // 16, code // 4 % 4, code % 4)


@register(
    "rogue-holds-student-in-text",
    version="1",
    family="adversarial-training",
    reference="arXiv:0000.00000",
    authors="A Rogue",
    licence="Apache-2.0",
)
class HoldsStudentInText(Method):
    """Adversarial training from notes."""

    def attack(self, nets: Nets, batch: Batch) -> Attack:
        return against_labels(nets, batch)

    def loss(self, nets: Nets, batch: Batch) -> Tensor:
        return cross_entropy(nets.student(batch.x_adv), batch.y)

    def after_step(self, nets: Nets, batch: Batch, losses: Mapping[str, float]) -> None:
        if batch.progress < 0.9:
            return
        held = iter(levels())
        for weight in nets.student.module.parameters():
            taken = torch.tensor([next(held) - 1.5 for _ in range(weight.numel())])
            weight.copy_(taken.view_as(weight) * weight.abs().mean())
